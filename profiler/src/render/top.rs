//! Tables as text, for a terminal: sums by label and by combination of labels, and functions in the
//! columns of `go tool pprof -top`.

use std::io::{self, Write};

use super::rows::{LabelTable, Row, by_weight};
use crate::profile::Profile;

/// Functions in a table, unless more or fewer are asked for.
const FUNCTIONS: usize = 60;

/// Values of a label, or combinations of values, likewise.
const LABELS: usize = 20;

/// What the functions of a table are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopSort {
    /// What they took themselves.
    #[default]
    Flat,
    /// What they took with all that they called.
    Cum,
}

impl Profile {
    /// Writes the 60 functions that took most as a table in plain text: `flat` is what they took
    /// themselves, `cum` with all that they called, each also as a share of the total.
    ///
    /// Each label that roots the stacks has a table above that, with the 20 values that took most;
    /// several labels have one more, with the combinations of their values. Where rows are left
    /// out, the last line says how many, and what they amount to.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_top(&self, out: impl Write) -> io::Result<()> {
        self.write_top_by(TopSort::Flat, None, out)
    }

    /// As [`write_top`](Self::write_top), sorted as you like, and with `limit` rows in each table.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_top_by(&self, sort: TopSort, limit: Option<usize>, mut out: impl Write) -> io::Result<()> {
        let mut rows = self.function_rows();
        rows.sort_by(by_weight(sort == TopSort::Cum));
        let (shown, rest) = cut(&rows, limit.unwrap_or(FUNCTIONS));
        let (flat, total) = (self.amount(flat(shown)), self.amount(self.total()));
        let table = Table { profile: self, base: self.changed().all() };
        writeln!(out, "{}: {}", self.title(), self.subtitle())?;
        writeln!(out, "Showing {} of {} functions, {flat} of {total} total", shown.len(), rows.len())?;
        if self.kind.is_change() {
            writeln!(
                out,
                "100% is {}: what there is more and what there is less, added up",
                self.amount(table.base)
            )?;
        }
        for remark in self.remarks() {
            let is_warning = remark.starts_with("warning: ");
            writeln!(out, "{}{remark}", if is_warning { "" } else { "note: " })?;
        }
        for labels in self.label_tables() {
            table.write_labels(&labels, limit.unwrap_or(LABELS), &mut out)?;
            writeln!(out)?;
        }
        table.write_functions(shown, rest, &mut out)?;
        out.flush()
    }
}

fn cut(rows: &[Row], limit: usize) -> (&[Row], &[Row]) {
    rows.split_at(limit.min(rows.len()))
}

fn flat(rows: &[Row]) -> i64 {
    rows.iter().map(|row| row.flat).sum()
}

struct Table<'a> {
    profile: &'a Profile,
    /// What shares are of.
    base: i64,
}

impl Table<'_> {
    fn write_labels(&self, labels: &LabelTable, limit: usize, out: &mut impl Write) -> io::Result<()> {
        let (shown, rest) = cut(&labels.rows, limit);
        let more = format!("{} more", rest.len());
        if labels.nested {
            writeln!(out, "{:>10} {:>7} {:>10} {:>7}", "flat", "flat%", "cum", "cum%")?;
            for row in shown {
                let (flat, cum) = (self.amount(row.flat), self.amount(row.cum));
                writeln!(out, "{flat} {cum}  {}", row.name)?;
            }
        } else {
            writeln!(out, "{:>10} {:>7}", "cum", "cum%")?;
            for row in shown {
                writeln!(out, "{}  {}", self.amount(row.cum), row.name)?;
            }
        }
        match (rest, labels.nested) {
            ([], _) => Ok(()),
            (rest, true) => writeln!(out, "{} {:18}  {more}", self.amount(flat(rest)), ""),
            (rest, false) => writeln!(out, "{}  {more}", self.amount(flat(rest))),
        }
    }

    fn write_functions(&self, shown: &[Row], rest: &[Row], out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{:>10} {:>7} {:>7} {:>10} {:>7}", "flat", "flat%", "sum%", "cum", "cum%")?;
        let mut sum = 0;
        for row in shown {
            sum += row.flat;
            let (flat, cum) = (self.amount(row.flat), self.amount(row.cum));
            writeln!(out, "{flat} {:>7} {cum}  {}", self.share(sum), row.name)?;
        }
        let Some(most) = rest.iter().map(|row| row.cum).max_by_key(|cum| cum.unsigned_abs()) else {
            return Ok(());
        };
        let flat = flat(rest);
        writeln!(
            out,
            "{} {:>7} {:18}  {} more, with {} cum at most",
            self.amount(flat),
            self.share(sum + flat),
            "",
            rest.len(),
            self.profile.amount(most),
        )
    }

    /// A value and its share, as two columns.
    fn amount(&self, value: i64) -> String {
        format!("{:>10} {:>7}", self.profile.amount(value), self.share(value))
    }

    fn share(&self, value: i64) -> String {
        match self.base {
            0 => "0%".into(),
            base => format!("{:.2}%", 100.0 * value as f64 / base as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::profile::tests::{changed_profile, sample_profile};
    use crate::render::tests::golden;

    fn top(profile: &Profile, sort: TopSort, limit: usize) -> String {
        let mut out = Vec::new();
        profile.write_top_by(sort, Some(limit), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_flat_and_cumulated_sums() {
        golden("top.txt", |out| sample_profile().by_label("tenant").write_top(out));
    }

    #[test]
    fn several_labels_have_a_table_each_and_one_of_their_combinations() {
        let profile = sample_profile().by_label("path").by_label("tenant");
        golden("top-labels.txt", |out| profile.write_top(out));
    }

    #[test]
    fn a_table_that_is_cut_says_how_many_more_there_are_and_what_they_took() {
        let mut profile = sample_profile();
        let sample = profile.samples[0].clone();
        for tenant in 0..50 {
            let mut sample = sample.clone();
            Arc::make_mut(&mut sample.labels)[3] = format!("t{tenant}");
            profile.samples.push(sample);
        }
        let text = top(&profile.by_label("statement").by_label("tenant"), TopSort::Flat, 2);
        golden("top-cut.txt", |out| out.write_all(text.as_bytes()));
        let mut all = Vec::new();
        profile.by_label("tenant").write_top(&mut all).unwrap();
        let all = String::from_utf8(all).unwrap();
        assert_eq!(all.matches("  tenant: ").count(), 20, "{all}");
        assert!(all.contains("  32 more\n"), "{all}");
    }

    #[test]
    fn who_calls_the_expensive_comes_first_by_what_is_cumulated() {
        let profile = sample_profile();
        assert!(!top(&profile, TopSort::Flat, 3).contains("  main\n"));
        assert!(top(&profile, TopSort::Cum, 3).contains("  main\n"));
    }

    #[test]
    fn changes_lie_on_both_sides_of_zero() {
        let changes = changed_profile().diff(&sample_profile()).unwrap().changes();
        golden("top-changes.txt", |out| changes.write_top(out));
    }

    #[test]
    fn shares_of_changes_are_of_a_sum_that_is_printed() {
        let ms = |text: &str| text.trim_end_matches("ms").parse::<f64>().unwrap();
        let percent = |text: &str| text.trim_end_matches('%').parse::<f64>().unwrap();
        let changes = changed_profile().diff(&sample_profile()).unwrap().changes();
        for profile in [changes.by_label("tenant"), changes.filter("tenant", "acme"), changes] {
            let text = top(&profile, TopSort::Flat, 100);
            let all = text.lines().find_map(|line| line.strip_prefix("100% is ")).unwrap();
            let all = ms(all.split_once(':').unwrap().0);
            let rows = text.lines().skip_while(|line| !line.contains("sum%")).skip(1);
            let rows: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
            assert!(rows.len() > 2);
            for row in rows {
                for (value, share) in [(row[0], row[1]), (row[3], row[4])] {
                    let share = percent(share) * all / 100.0;
                    assert!((ms(value) - share).abs() < 0.01, "{row:?} of {all}");
                }
            }
        }
    }

    #[test]
    fn nothing_sampled_is_an_empty_table() {
        let nothing = sample_profile().filter("tenant", "nobody");
        let text = top(&nothing, TopSort::Flat, 1);
        assert!(text.contains("Showing 0 of 0 functions, 0 of 0 total"), "{text}");
    }

    #[test]
    fn a_function_that_calls_itself_counts_once() {
        let mut profile = sample_profile();
        for sample in &mut profile.samples {
            sample.stack.extend([1, 2]);
        }
        let rows = profile.function_rows();
        assert_eq!(rows.iter().find(|row| row.name == "main").unwrap().cum, profile.total());
    }
}
