//! A table of functions as text, in the columns of `go tool pprof -top`.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use crate::profile::Profile;

/// Functions in a table. A reader who wants more takes another format.
const ROWS: usize = 60;

/// Values of labels above them.
const LABEL_ROWS: usize = 20;

struct Row<'a> {
    name: &'a str,
    is_label: bool,
    /// What it took itself.
    flat: i64,
    /// With what it called.
    cum: i64,
}

impl Profile {
    /// Writes the functions that most was sampled in, 60 at most, as a table in plain text: `flat` is what they took
    /// themselves, `cum` with all that they called, each also as a share of the total. Labels that root the stacks stand
    /// above them, 20 at most.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_top(&self, mut out: impl Write) -> io::Result<()> {
        let (mut labels, mut functions): (Vec<Row<'_>>, Vec<Row<'_>>) =
            self.rows().into_iter().partition(|row| row.is_label);
        for rows in [&mut labels, &mut functions] {
            let weight = |row: &Row<'_>| (row.flat.unsigned_abs(), row.cum.unsigned_abs());
            rows.sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| a.name.cmp(b.name)));
        }
        // Outer labels above inner ones.
        let root =
            |row: &Row<'_>| self.roots.iter().position(|label| row.name.starts_with(&format!("{label}: ")));
        labels.sort_by_key(root);
        let all = functions.len();
        labels.truncate(LABEL_ROWS);
        functions.truncate(ROWS);
        let flat: i64 = functions.iter().map(|row| row.flat).sum();
        let (flat, total) = (self.amount(flat), self.amount(self.total()));
        writeln!(out, "{}: {}", self.title(), self.subtitle())?;
        writeln!(out, "Showing {} of {all} functions, {flat} of {total} total", functions.len())?;
        writeln!(out, "{:>10} {:>7} {:>7} {:>10} {:>7}", "flat", "flat%", "sum%", "cum", "cum%")?;
        let base = self.base();
        let mut so_far = 0;
        for row in labels.iter().chain(&functions) {
            so_far += row.flat;
            writeln!(
                out,
                "{:>10} {:>7} {:>7} {:>10} {:>7}  {}",
                self.amount(row.flat),
                share(row.flat, base),
                share(so_far, base),
                self.amount(row.cum),
                share(row.cum, base),
                stagelight::export::table::shorten(row.name, 160),
            )?;
        }
        out.flush()
    }

    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: HashMap<(&str, bool), Row<'_>> = HashMap::new();
        let mut seen: HashSet<(&str, bool)> = HashSet::new();
        for sample in &self.samples {
            let value = sample.values[1];
            seen.clear();
            let locations = sample.stack.iter().map(|&location| &self.locations[location as usize]);
            let names = locations.flat_map(|location| {
                location.frames.iter().map(|frame| (frame.function.as_str(), location.is_label()))
            });
            for (depth, (name, is_label)) in names.enumerate() {
                let row = rows.entry((name, is_label)).or_insert(Row { name, is_label, flat: 0, cum: 0 });
                if depth == 0 {
                    row.flat += value;
                }
                // A function that calls itself counts once.
                if seen.insert((name, is_label)) {
                    row.cum += value;
                }
            }
        }
        rows.into_values().collect()
    }

    /// What shares are of: the total, or, where values lie on both sides of zero, all that changed.
    fn base(&self) -> i64 {
        self.samples.iter().map(|sample| sample.values[1].saturating_abs()).sum()
    }
}

fn share(value: i64, base: i64) -> String {
    if base == 0 { "0%".into() } else { format!("{:.2}%", 100.0 * value as f64 / base as f64) }
}

#[cfg(test)]
mod tests {
    use crate::profile::tests::{changed_profile, sample_profile};
    use crate::render::tests::golden;

    #[test]
    fn a_table_has_flat_and_cumulated_sums() {
        golden("top.txt", |out| sample_profile().by_label("tenant").write_top(out));
    }

    #[test]
    fn changes_lie_on_both_sides_of_zero() {
        let changes = changed_profile().diff(&sample_profile()).unwrap().changes();
        golden("top-changes.txt", |out| changes.write_top(out));
    }

    #[test]
    fn nothing_sampled_is_an_empty_table() {
        let nothing = sample_profile().filter("tenant", "nobody");
        let mut out = Vec::new();
        nothing.write_top(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Showing 0 of 0 functions, 0 of 0 total"), "{text}");
    }

    #[test]
    fn a_function_that_calls_itself_counts_once() {
        let mut profile = sample_profile();
        for sample in &mut profile.samples {
            sample.stack.extend([1, 2]);
        }
        let rows = profile.rows();
        assert_eq!(rows.iter().find(|row| row.name == "main").unwrap().cum, profile.total());
    }
}
