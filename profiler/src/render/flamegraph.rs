//! Flame graphs as interactive SVG, by `inferno`.

use std::io::{self, Write};

use inferno::flamegraph::{
    self, Options, Palette,
    color::{BackgroundColor, MultiPalette},
};

use crate::profile::{Kind, Profile};

impl Kind {
    /// What a folded value is divided by, so that it fits the figures that people read.
    pub(super) fn folded_divisor(self) -> i64 {
        match self {
            Kind::Cpu | Kind::CpuChange => 1_000,
            Kind::Heap | Kind::HeapGrowth => 1,
        }
    }

    /// The unit that a flame graph shows, and how many of it a folded value is.
    fn shown(self) -> (&'static str, f64) {
        match self {
            Kind::Cpu | Kind::CpuChange => ("ms", 1e-3),
            Kind::Heap | Kind::HeapGrowth => ("KiB", 1.0 / 1024.0),
        }
    }
}

impl Profile {
    /// Writes a flame graph: an SVG with search and zoom that opens in any browser. A profile without samples
    /// gives a picture that says so.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_flamegraph(&self, mut out: impl Write) -> io::Result<()> {
        let lines = self.folded_lines();
        if lines.is_empty() {
            return write_empty(self, out);
        }
        let (unit, factor) = self.kind.shown();
        let mut options = Options::default();
        options.title = self.title();
        options.subtitle = Some(self.subtitle());
        options.count_name = unit.into();
        options.factor = factor;
        options.colors = Palette::Multi(MultiPalette::Rust);
        options.bgcolors = Some(BackgroundColor::Flat((255, 255, 255).into()));
        options.deterministic = true;
        options.font_type = "ui-sans-serif, system-ui, sans-serif".into();
        options.min_width = 0.05;
        flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut out)
            .map_err(io::Error::other)?;
        out.flush()
    }

    /// What the picture rests on, in one line.
    fn subtitle(&self) -> String {
        let stats = &self.stats;
        let dropped: u64 = stats.dropped.iter().map(|(_, count)| count).sum();
        let seconds = stats.duration.as_secs_f64();
        let basis = format!("{} samples by {}", stats.samples, stats.rung);
        match self.kind {
            Kind::Cpu | Kind::CpuChange => format!("{basis} over {seconds:.1} s, {dropped} dropped"),
            Kind::Heap => basis,
            Kind::HeapGrowth => format!("{basis} over {seconds:.1} s"),
        }
    }
}

fn write_empty(profile: &Profile, mut out: impl Write) -> io::Result<()> {
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 60" font-family="sans-serif">
<rect width="100%" height="100%" fill="#eeeeb0"/>
<text x="400" y="35" text-anchor="middle">{}: no samples</text>
</svg>"##,
        profile.title()
    )?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use crate::profile::tests::sample_profile;

    #[test]
    fn the_picture_names_its_frames_and_what_it_rests_on() {
        let mut svg = Vec::new();
        sample_profile().by_label("tenant").write_flamegraph(&mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        for text in [
            "tenant: acme",
            "sqlite3VdbeExec",
            "orders::step::&lt;T&gt;",
            "6 samples by ctimer over 1.0 s, 1 dropped",
        ] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn no_samples_are_no_error() {
        let mut profile = sample_profile();
        profile.samples.clear();
        let mut svg = Vec::new();
        profile.write_flamegraph(&mut svg).unwrap();
        assert!(String::from_utf8(svg).unwrap().contains("no samples"));
    }
}
