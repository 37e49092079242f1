//! Prometheus' text format itself: families, series, and how their numbers and texts are written.
//!
//! Counts are written as the integers that they are, and nanoseconds as seconds with nine decimals:
//! a number that went through a float would be off above 2^53.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::io;

use super::readable::readable;
use crate::metric::{MetricKind, exposed};

/// A number as the format writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number, exact.
    Whole(u64),
    /// Nanoseconds, written as seconds, exact.
    Nanoseconds(u64),
    /// Any other.
    Float(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Number::Whole(number)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Number::Float(number)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u64 = 1_000_000_000;
        match *self {
            Number::Whole(number) => write!(f, "{number}"),
            Number::Nanoseconds(ns) if ns.is_multiple_of(SECOND) => write!(f, "{}", ns / SECOND),
            Number::Nanoseconds(ns) => {
                let decimals = format!("{:09}", ns % SECOND);
                write!(f, "{}.{}", ns / SECOND, decimals.trim_end_matches('0'))
            }
            Number::Float(f64::INFINITY) => f.write_str("+Inf"),
            Number::Float(f64::NEG_INFINITY) => f.write_str("-Inf"),
            Number::Float(number) => write!(f, "{number}"),
        }
    }
}

/// Labels as they are written: names and escaped values, parted by commas.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(String);

impl Labels {
    /// With one label more.
    pub(super) fn and(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        for c in shown(value).chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        self
    }
}

/// A text as people may read it, with its line feeds, which the format escapes by itself.
fn shown(text: &str) -> Cow<'_, str> {
    let stays = |line| matches!(readable(line), Cow::Borrowed(_));
    if text.split('\n').all(stays) { Cow::Borrowed(text) } else { readable(text) }
}

/// What a series stands at.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Number(Number),
    /// Upper ends of buckets, each with the count of all values up to it.
    Histogram {
        buckets: Vec<(Number, u64)>,
        sum: Number,
        count: u64,
    },
    Summary {
        quantiles: Vec<(f64, Number)>,
        sum: Number,
        count: u64,
    },
}

/// All series of one name.
#[derive(Clone, Debug)]
pub struct Family {
    name: String,
    help: String,
    kind: MetricKind,
    series: Vec<(Labels, Value)>,
}

impl Family {
    pub(super) fn new(
        name: impl Into<String>,
        help: impl Into<String>,
        kind: MetricKind,
        series: impl IntoIterator<Item = (Labels, Value)>,
    ) -> Self {
        Self { name: name.into(), help: help.into(), kind, series: series.into_iter().collect() }
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let Self { name, help, kind, series } = self;
        if !help.is_empty() {
            writeln!(text, "# HELP {name} {}", shown(help).replace('\\', "\\\\").replace('\n', "\\n"))?;
        }
        writeln!(text, "# TYPE {name} {}", kind.name())?;
        for (labels, value) in series {
            let mut line = |suffix: &str, more: Option<(&str, Number)>, value: Number| {
                text.push_str(name);
                text.push_str(suffix);
                if more.is_some() || !labels.0.is_empty() {
                    write!(text, "{{{}", labels.0)?;
                    if let Some((name, value)) = more {
                        write!(text, "{}{name}=\"{value}\"", if labels.0.is_empty() { "" } else { "," })?;
                    }
                    text.push('}');
                }
                writeln!(text, " {value}")
            };
            let (sum, count) = match value {
                Value::Number(number) => {
                    line("", None, *number)?;
                    continue;
                }
                Value::Histogram { buckets, sum, count } => {
                    for (upper, count) in buckets {
                        line("_bucket", Some(("le", *upper)), (*count).into())?;
                    }
                    line("_bucket", Some(("le", f64::INFINITY.into())), (*count).into())?;
                    (*sum, *count)
                }
                Value::Summary { quantiles, sum, count } => {
                    for (quantile, value) in quantiles {
                        line("", Some(("quantile", (*quantile).into())), *value)?;
                    }
                    (*sum, *count)
                }
            };
            line("_sum", None, sum)?;
            line("_count", None, count.into())?;
        }
        Ok(())
    }
}

/// Writes the families and tells how many were left out: those that would be exposed under a name
/// of one before them, since a reader could make nothing of the whole page.
///
/// # Errors
/// If writing fails.
pub(super) fn write(families: &[Family], out: &mut impl io::Write) -> io::Result<u64> {
    let mut taken = HashSet::new();
    let mut left_out = 0;
    let mut text = String::new();
    // A family without a series says nothing.
    for family in families.iter().filter(|family| !family.series.is_empty()) {
        let names = exposed::names(&family.name, family.kind);
        if names.iter().any(|name| taken.contains(name)) {
            left_out += 1;
            continue;
        }
        taken.extend(names);
        text.clear();
        family.write(&mut text).map_err(io::Error::other)?;
        out.write_all(text.as_bytes())?;
    }
    Ok(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_exactly() {
        let written = |number: Number| number.to_string();
        assert_eq!(written((u64::MAX - 1).into()), "18446744073709551614");
        assert_eq!(written(Number::Nanoseconds(9_007_199_254_740_993)), "9007199.254740993");
        assert_eq!(written(Number::Nanoseconds(1_500_000_000)), "1.5");
        assert_eq!(written(Number::Nanoseconds(2_000_000_000)), "2");
        assert_eq!(written(f64::INFINITY.into()), "+Inf");
        assert_eq!(written(f64::NEG_INFINITY.into()), "-Inf");
        assert_eq!(written(f64::NAN.into()), "NaN");
        assert_eq!((written(0.5.into()), written(7.0.into())), ("0.5".into(), "7".into()));
    }

    #[test]
    fn texts_are_escaped() {
        let labels = Labels::default().and("a", "x\"\\\n").and("b", "ü").and("c", "\u{7}\n");
        let family = Family::new("odd", "a\\b\nc", MetricKind::Gauge, [(labels, Value::Number(1.0.into()))]);
        let mut text = String::new();
        family.write(&mut text).unwrap();
        assert_eq!(
            text,
            "# HELP odd a\\\\b\\nc\n# TYPE odd gauge\nodd{a=\"x\\\"\\\\\\n\",b=\"ü\",c=\"\\\"\\\\u{7}\\\\n\\\"\"} 1\n"
        );
    }

    #[test]
    fn a_family_whose_name_is_taken_is_left_out() {
        let family = |name: &str, kind| {
            Family::new(name, "", kind, [(Labels::default(), Value::Number(1_u64.into()))])
        };
        let families = [
            family("rows_total", MetricKind::Counter),
            family("rows_total", MetricKind::Counter),
            family("rows", MetricKind::Gauge),
            family("pages", MetricKind::Gauge),
            Family::new("none", "", MetricKind::Gauge, []),
        ];
        let mut text = Vec::new();
        assert_eq!(write(&families, &mut text).unwrap(), 2);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "# TYPE rows_total counter\nrows_total 1\n# TYPE pages gauge\npages 1\n"
        );
    }
}
