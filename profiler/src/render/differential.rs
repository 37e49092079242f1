//! Two profiles as one flame graph, coloured by what changed.

use std::collections::BTreeMap;
use std::io::{self, Write};

use inferno::flamegraph::{self, color::StrokeColor};

use super::flamegraph::{options, write_empty};
use super::units::Unit;
use crate::profile::Diff;

impl Diff {
    /// Writes a flame graph of the later profile. A frame is red where the function itself, without what it called, takes
    /// more than in the base, and blue where it takes less; the deeper, the more. What is gone has no width:
    /// [`write_base_flamegraph`](Self::write_base_flamegraph) shows it.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_flamegraph(&self, out: impl Write) -> io::Result<()> {
        self.write_svg(false, out)
    }

    /// Writes a flame graph of the base in the same colours: blue is what there is less of in the later profile. What is
    /// new has no width here.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_base_flamegraph(&self, out: impl Write) -> io::Result<()> {
        self.write_svg(true, out)
    }

    fn write_svg(&self, of_base: bool, mut out: impl Write) -> io::Result<()> {
        let mut stacks: BTreeMap<String, [i64; 2]> = BTreeMap::new();
        for (index, profile) in [&self.base, &self.new].into_iter().enumerate() {
            for (stack, value) in profile.folded_stacks() {
                stacks.entry(stack).or_default()[index] = value.max(0);
            }
        }
        let shown = if of_base { &self.base } else { &self.new };
        // The second column gives the widths, and colours stand for what it is more than the first.
        let columns = |[base, new]: [i64; 2]| if of_base { [new, base] } else { [base, new] };
        let stacks = stacks.into_iter().map(|(stack, values)| (stack, columns(values)));
        let lines: Vec<String> =
            stacks.map(|(stack, [first, second])| format!("{stack} {first} {second}")).collect();
        let title = format!("{}: {}", shown.title(), if of_base { "before" } else { "after" });
        if shown.folded_stacks().values().all(|value| *value <= 0) {
            return write_empty(&title, &shown.remarks(), out);
        }
        let (base, new) = (self.base.amount(self.base.total()), self.new.amount(self.new.total()));
        let subtitle = format!("{base} before, {new} after; red grew, blue shrank, white stayed");
        let mut options = options(title, subtitle, &shown.remarks());
        options.negate_differentials = of_base;
        options.min_width = 0.1;
        // Most frames are white, as the paper is.
        options.stroke_color = StrokeColor::Color((210, 210, 210).into());
        // Not scaled: changes in per cent would not be.
        options.count_name = match shown.kind.unit() {
            Unit::Nanoseconds => "\u{b5}s".into(),
            Unit::Bytes => "bytes".into(),
        };
        flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut out)
            .map_err(io::Error::other)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::tests::{changed_profile, sample_profile};
    use crate::render::tests::golden_svg;

    #[test]
    fn red_grew_and_blue_shrank() {
        let diff = changed_profile().diff(&sample_profile()).unwrap();
        golden_svg("differential.txt", |out| diff.write_flamegraph(out));
        golden_svg("differential-base.txt", |out| diff.write_base_flamegraph(out));
    }

    #[test]
    fn a_side_without_samples_is_no_error() {
        let nothing = sample_profile().filter("tenant", "nobody");
        let diff = nothing.diff(&sample_profile()).unwrap();
        let mut svg = Vec::new();
        diff.write_flamegraph(&mut svg).unwrap();
        assert!(String::from_utf8(svg).unwrap().contains("no samples"));
        let mut svg = Vec::new();
        diff.write_base_flamegraph(&mut svg).unwrap();
        assert!(String::from_utf8(svg).unwrap().contains("sqlite3VdbeExec"));
    }
}
