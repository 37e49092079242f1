//! The bars and what was measured against them, as a table for people or as lines for a script.

use crate::harness::Series;

/// What a figure must keep to.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// No more.
    AtMost(f64),
    /// No less.
    AtLeast(f64),
    /// Neither less nor more.
    Within(f64, f64),
    /// A figure for the reader, no bar.
    None,
}

struct Row {
    /// For scripts: no spaces.
    name: String,
    what: String,
    series: Series,
    unit: &'static str,
    bar: Bar,
}

/// All rows, in the order in which they were measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Bar {
    /// Whether the figure is on the right side; as printed, so that no reader sees 1.05 miss a bar of 1.05.
    fn holds(self, value: f64) -> bool {
        let value = shown(value).parse().unwrap_or(f64::NAN);
        match self {
            Bar::AtMost(limit) => value <= limit,
            Bar::AtLeast(limit) => value >= limit,
            Bar::Within(least, most) => (least..=most).contains(&value),
            Bar::None => true,
        }
    }

    fn text(self) -> String {
        match self {
            Bar::AtMost(limit) => format!("<={limit}"),
            Bar::AtLeast(limit) => format!(">={limit}"),
            Bar::Within(least, most) => format!("{least}-{most}"),
            Bar::None => String::new(),
        }
    }
}

impl Report {
    /// Notes a figure, and says on stderr that it is there.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        what: impl Into<String>,
        series: impl Into<Series>,
        unit: &'static str,
        bar: Bar,
    ) {
        let row = Row { name: name.into(), what: what.into(), series: series.into(), unit, bar };
        eprintln!("  {:<28} {:>9} {}", row.name, shown(row.series.median()), row.unit);
        self.rows.push(row);
    }

    /// Bars that are missed.
    pub fn misses(&self) -> usize {
        self.rows.iter().filter(|row| !row.holds()).count()
    }

    /// For people.
    pub fn print_table(&self) {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        println!(
            "| {:<width$} | {:>10}      | {:^18} | {:<9} |      |",
            "what", "median", "quartiles", "bar"
        );
        println!("| {:-<width$} | {:->15} | {:-^18} | {:-<9} | ---- |", "", ":", "", "");
        for row in &self.rows {
            let (low, high) = row.series.quartiles();
            let verdict = match row.bar {
                Bar::None => "",
                _ if row.holds() => "ok",
                _ => "MISS",
            };
            println!(
                "| {:<width$} | {:>10} {:<4} | {:^18} | {:<9} | {verdict:<4} |",
                row.what,
                shown(row.series.median()),
                row.unit,
                format!("{} – {}", shown(low), shown(high)),
                row.bar.text(),
            );
        }
    }

    /// `name value limit ok|miss`, a line a bar.
    pub fn print_checks(&self) {
        for row in self.rows.iter().filter(|row| !matches!(row.bar, Bar::None)) {
            let verdict = if row.holds() { "ok" } else { "miss" };
            println!("{} {} {} {verdict}", row.name, shown(row.series.median()), row.bar.text());
        }
    }
}

impl Row {
    fn holds(&self) -> bool {
        self.bar.holds(self.series.median())
    }
}

/// Two decimals where they say something.
fn shown(value: f64) -> String {
    if value.abs() < 1000.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}
