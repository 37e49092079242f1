//! What the tables add up: functions, values of labels, and combinations of them.

use std::cmp::{Ordering, Reverse};
use std::collections::{HashMap, HashSet};

use stagelight::export::table::shorten;

use super::frame_name::FrameName;
use crate::profile::{NONE, Profile, WITHIN};

/// What a name may take of a line.
const NAME: usize = 160;

/// A line of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    /// What it took itself.
    pub(super) flat: i64,
    /// With what it called.
    pub(super) cum: i64,
}

/// The values of a label that roots the stacks, or the combinations of several labels' values.
pub(super) struct LabelTable {
    /// Those that took most come first.
    pub(super) rows: Vec<Row>,
    /// Whether some rows are a part of others, as paths are: flat sums add up to the whole, and
    /// cumulated ones don't. Of all else the two are the same.
    pub(super) nested: bool,
}

/// What takes most comes first, of itself or with what it called.
pub(super) fn by_weight(cumulated: bool) -> impl Fn(&Row, &Row) -> Ordering {
    let weight = move |row: &Row| {
        let (flat, cum) = (row.flat.unsigned_abs(), row.cum.unsigned_abs());
        Reverse(if cumulated { (cum, flat) } else { (flat, cum) })
    };
    move |a, b| weight(a).cmp(&weight(b)).then_with(|| a.name.cmp(&b.name))
}

impl Profile {
    /// The functions, or, with lines, the lines of functions, in no order. One that calls itself counts once.
    pub(super) fn function_rows(&self) -> Vec<Row> {
        let mut sums: HashMap<FrameName<'_>, [i64; 2]> = HashMap::new();
        let mut seen: HashSet<FrameName<'_>> = HashSet::new();
        for sample in &self.samples {
            let value = sample.values[1];
            seen.clear();
            let code = sample.stack.iter().map(|&location| &self.locations[location as usize]);
            // Labels have tables of their own.
            let code = code.filter(|location| !location.is_label());
            let names = code.flat_map(|location| location.frames.iter().map(FrameName::of));
            for (depth, name) in names.enumerate() {
                let [flat, cum] = sums.entry(name).or_default();
                *flat += if depth == 0 { value } else { 0 };
                *cum += if seen.insert(name) { value } else { 0 };
            }
        }
        let row = |(name, [flat, cum]): (FrameName<'_>, [i64; 2])| Row { name: name.short(NAME), flat, cum };
        sums.into_iter().map(row).collect()
    }

    /// A table for each label that roots the stacks, outermost first, and one for their
    /// combinations if there are several.
    pub(super) fn label_tables(&self) -> Vec<LabelTable> {
        let mut labels: Vec<&str> = Vec::new();
        for label in &self.roots {
            if !labels.contains(&label.as_str()) {
                labels.push(label);
            }
        }
        let mut tables: Vec<LabelTable> = labels
            .iter()
            .map(|label| match *label {
                "path" => self.paths(),
                label => self.combinations(&[label]),
            })
            .collect();
        if labels.len() > 1 {
            tables.push(self.combinations(&labels));
        }
        tables
    }

    fn combinations(&self, labels: &[&str]) -> LabelTable {
        let mut sums: HashMap<Vec<&str>, i64> = HashMap::new();
        for sample in &self.samples {
            let values = labels.iter().map(|label| sample.label(label)).collect();
            *sums.entry(values).or_default() += sample.values[1];
        }
        let row = |(values, sum): (Vec<&str>, i64)| {
            let parts = labels.iter().zip(values);
            let parts = parts.map(|(label, value)| named(label, value, NAME / labels.len()));
            Row { name: parts.collect::<Vec<_>>().join(", "), flat: sum, cum: sum }
        };
        LabelTable::new(sums.into_iter().map(row).collect(), false)
    }

    /// All paths, and those that lead to them.
    fn paths(&self) -> LabelTable {
        let mut sums: HashMap<&str, [i64; 2]> = HashMap::new();
        for sample in &self.samples {
            let (path, value) = (sample.label("path"), sample.values[1]);
            sums.entry(path).or_default()[0] += value;
            let ends = path.match_indices(WITHIN).map(|(end, _)| end).chain([path.len()]);
            for end in ends {
                sums.entry(&path[..end]).or_default()[1] += value;
            }
        }
        let row = |(path, [flat, cum]): (&str, [i64; 2])| Row { name: named("path", path, NAME), flat, cum };
        LabelTable::new(sums.into_iter().map(row).collect(), true)
    }
}

impl LabelTable {
    fn new(mut rows: Vec<Row>, nested: bool) -> Self {
        // Of a path and the one that leads to it alone, the latter comes first.
        rows.sort_by(|a, b| {
            let by_sum = b.cum.unsigned_abs().cmp(&a.cum.unsigned_abs());
            by_sum.then_with(|| a.name.cmp(&b.name))
        });
        Self { rows, nested }
    }
}

fn named(label: &str, value: &str, width: usize) -> String {
    let value = if value.is_empty() { NONE } else { value };
    format!("{label}: {}", shorten(value, width))
}
