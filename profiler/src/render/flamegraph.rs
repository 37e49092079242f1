//! Flame graphs and icicles as interactive SVG, by `inferno`.

use std::io::{self, Write};

use inferno::flamegraph::{
    self, Direction, Options, Palette,
    color::{BackgroundColor, MultiPalette},
};

use stagelight::export::table::shorten;

use super::units::Unit;
use crate::profile::{Kind, Profile};

impl Kind {
    /// What a folded value is divided by, so that it fits the figures that people read.
    pub(super) fn folded_divisor(self) -> i64 {
        match self.unit() {
            Unit::Nanoseconds => 1_000,
            Unit::Bytes => 1,
        }
    }

    /// The unit that a flame graph shows, and how many of it a folded value is.
    fn shown(self) -> (&'static str, f64) {
        match self.unit() {
            Unit::Nanoseconds => ("ms", 1e-3),
            Unit::Bytes => ("KiB", 1.0 / 1024.0),
        }
    }
}

impl Profile {
    /// Writes a flame graph: an SVG with search and zoom that opens in any browser. A profile without samples
    /// gives a picture that says so.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_flamegraph(&self, out: impl Write) -> io::Result<()> {
        self.write_svg(Direction::Straight, out)
    }

    /// Writes an icicle: a flame graph upside down, whose roots, and the labels that root them, stand at the top, where
    /// reading starts.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_icicle(&self, out: impl Write) -> io::Result<()> {
        self.write_svg(Direction::Inverted, out)
    }

    fn write_svg(&self, direction: Direction, mut out: impl Write) -> io::Result<()> {
        let lines = self.folded_lines();
        if lines.is_empty() {
            return write_empty(&self.title(), &self.remarks(), out);
        }
        let (unit, factor) = self.kind.shown();
        let mut options = options(self.title(), self.subtitle(), &self.remarks());
        options.direction = direction;
        options.count_name = unit.into();
        options.factor = factor;
        flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut out)
            .map_err(io::Error::other)?;
        out.flush()
    }
}

/// Characters that a line of a picture holds.
const LINE: usize = 180;

/// What all pictures have in common. Remarks stand below the title as far as the line has room, and
/// as a whole in a comment.
pub(super) fn options(title: String, subtitle: String, remarks: &[String]) -> Options<'static> {
    let subtitle = [&[subtitle], remarks].concat().join("; ");
    let mut options = Options::default();
    options.title = title;
    options.subtitle = Some(shorten(&subtitle, LINE));
    // Two hyphens end a comment.
    options.notes = remarks.join("; ").replace("--", "- -");
    options.colors = Palette::Multi(MultiPalette::Rust);
    options.bgcolors = Some(BackgroundColor::Flat((255, 255, 255).into()));
    options.deterministic = true;
    // One family: a list would be quoted as one name, which no font has.
    options.font_type = "sans-serif".into();
    options.min_width = 0.05;
    options
}

/// A picture that says that there is nothing to see, and what is known of why. The texts may hold
/// what a label's value has: anything.
pub(super) fn write_empty(title: &str, remarks: &[String], mut out: impl Write) -> io::Result<()> {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let height = 60 + 20 * remarks.len();
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 {height}" font-family="sans-serif">
<rect width="100%" height="100%" fill="#eeeeb0"/>
<text x="600" y="35" text-anchor="middle">{}: no samples</text>"##,
        escaped(title)
    )?;
    for (line, remark) in (0..).zip(remarks) {
        let y = 60 + 20 * line;
        writeln!(
            out,
            r#"<text x="600" y="{y}" font-size="12" text-anchor="middle">{}</text>"#,
            escaped(&shorten(remark, LINE))
        )?;
    }
    writeln!(out, "</svg>")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use crate::profile::tests::sample_profile;
    use crate::render::tests::golden_svg;

    #[test]
    fn the_picture_names_its_frames_and_what_it_rests_on() {
        let profile = sample_profile().by_label("tenant");
        let svg = golden_svg("flamegraph.txt", |out| profile.write_flamegraph(out));
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
    fn an_icicle_has_its_root_at_the_top() {
        let profile = sample_profile().by_label("tenant");
        golden_svg("icicle.txt", |out| profile.write_icicle(out));
    }

    #[test]
    fn no_samples_are_no_error() {
        let mut svg = Vec::new();
        sample_profile().filter("tenant", "<nobody>").write_flamegraph(&mut svg).unwrap();
        assert!(String::from_utf8(svg).unwrap().contains("CPU time of tenant &lt;nobody&gt;: no samples"));
    }
}
