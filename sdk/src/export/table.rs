//! Tables for a terminal of 100 columns, and the short forms of durations and sizes that they use.

use std::fmt::Write as _;

use crate::collect::queries::{Column, Queries};
use crate::collect::snapshot::{Snapshot, StageStats};
use crate::export::readable::readable;
use crate::record::labels::LabelKind;

/// The quantiles that reports show.
pub const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];

/// The widest line that a table prints.
pub const WIDTH: usize = 100;

/// A table whose first column is text, aligned left, and whose others are figures, aligned right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![headings.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table as lines of at most [`WIDTH`] columns, as long as the figures leave the text any room: the
    /// text is cut where it is too long.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let figures: usize = widths.iter().skip(1).sum();
        // Columns stand two apart where there is room, and one where there is not.
        let parted = |gap: usize| figures + gap * columns.saturating_sub(1);
        let gap = if widths.first().map_or(0, |text| text + parted(2)) <= WIDTH { 2 } else { 1 };
        let figures = parted(gap);
        let text = widths.first().copied().unwrap_or(0).min(WIDTH.saturating_sub(figures).max(8));
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                // Writing to a string can't fail.
                let _ = match column {
                    0 => write!(line, "{:<text$}", shorten(cell, text)),
                    _ => write!(line, "{:gap$}{cell:>width$}", "", width = widths[column]),
                };
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// The text as [`readable`] has it, and so on one line, cut to `width` characters; an ellipsis
/// shows the cut.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    let text = readable(text);
    let mut short: String = text.chars().take(width).collect();
    if text.chars().nth(width).is_some() {
        short.pop();
        short.push('…');
    }
    short
}

/// The stages, the one with the most self time first. A recursive stage's total is that of its
/// outermost level; the quantiles are of all its calls.
#[must_use]
pub fn stages(snapshot: &Snapshot) -> String {
    let mut headings = vec!["stage", "calls", "err", "total", "self", "self%"];
    headings.extend(QUANTILES.map(|(name, _)| name));
    headings.extend(["max", "B/call"]);
    let mut table = Table::new(headings);
    let all_self: u64 = snapshot.stages.iter().map(|stage| stage.self_ns).sum();
    let mut stages: Vec<&StageStats> = snapshot.stages.iter().collect();
    stages.sort_by_key(|stage| std::cmp::Reverse(stage.self_ns));
    for stage in stages {
        let mut row = vec![
            stage.name.to_owned(),
            count(stage.calls),
            count(stage.errors),
            duration(stage.total_ns),
            duration(stage.self_ns),
            format!("{:.1}", 100.0 * stage.self_ns as f64 / all_self.max(1) as f64),
        ];
        row.extend(QUANTILES.map(|(_, q)| duration(stage.histogram.quantile(q))));
        row.push(duration(stage.histogram.max()));
        row.push(bytes(stage.alloc_bytes as f64 / stage.calls.max(1) as f64));
        table.row(row);
    }
    table.render()
}

/// The `n` values of a kind of label that have most of a column since the last reset, most first,
/// below a line that says since when they count. `self` and what stands after `max` leave out
/// queries nested in a query, all other times are of queries as a whole.
#[must_use]
pub fn queries(queries: &Queries, kind: LabelKind, by: Column, n: usize) -> String {
    let top = queries.top(kind, by, n);
    let since = match queries.since {
        None => "since the process started".to_owned(),
        Some(since) => {
            let ago = queries.taken_at.duration_since(since).unwrap_or_default().as_nanos();
            format!("since a reset {} before", duration(u64::try_from(ago).unwrap_or(u64::MAX)))
        }
    };
    let of = queries.by_label(kind).len();
    let mut table = Table::new([
        kind.name(),
        "calls",
        "err",
        "self",
        "total",
        "mean",
        "p50",
        "p99",
        "max",
        "rows",
        "B/call",
    ]);
    for stats in &top {
        table.row([
            stats.value.clone(),
            count(stats.calls),
            count(stats.errors),
            duration(stats.self_ns),
            duration(stats.total_ns),
            duration(stats.mean_ns()),
            duration(stats.histogram.quantile(0.5)),
            duration(stats.histogram.quantile(0.99)),
            duration(stats.max_ns),
            count(stats.rows),
            bytes(stats.alloc_bytes as f64 / stats.calls.max(1) as f64),
        ]);
    }
    let nested = if top.iter().any(|stats| stats.self_ns != stats.total_ns) {
        "self, rows and B/call are without what belongs to queries nested in them, all else is with it\n"
    } else {
        ""
    };
    format!("by {}, {} of {of}, {since}\n{nested}{}", by.name(), top.len(), table.render())
}

/// Nanoseconds in the unit that leaves one to three digits before the point.
#[must_use]
pub fn duration(ns: u64) -> String {
    scaled(ns as f64, 1000.0, &["ns", "µs", "ms", "s"])
}

/// Bytes in binary units.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A count in full up to six digits, then in millions and so on.
#[must_use]
pub fn count(count: u64) -> String {
    if count < 1_000_000 { count.to_string() } else { scaled(count as f64 / 1e6, 1000.0, &["M", "G", "T"]) }
}

fn scaled(mut value: f64, base: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // 999.5 would print as 1000.
    while value >= base - 0.5 && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let decimals = if unit == 0 && value.fract() == 0.0 || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_never_roll_over() {
        assert_eq!(duration(0), "0ns");
        assert_eq!(duration(999), "999ns");
        assert_eq!(duration(1_234), "1.23µs");
        assert_eq!(duration(999_999), "1.00ms");
        assert_eq!(duration(61_000_000_000), "61.0s");
        assert_eq!(bytes(1023.9), "1.00KiB");
        assert_eq!(bytes(0.25), "0.25B");
        assert_eq!((count(999_999), count(1_500_000)), ("999999".into(), "1.50M".into()));
    }

    #[test]
    fn long_text_gives_way_to_the_figures() {
        let mut table = Table::new(["statement", "calls"]);
        table.row(["x\n".repeat(200), "12345".into()]);
        let text = table.render();
        assert!(text.lines().count() == 2 && text.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(text.contains("… 12345"));
    }
}
