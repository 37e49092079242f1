//! Metrics as a snapshot holds them: the neutral form that exporters read.

use super::descriptor::{Shape, Unit};
use super::kind::MetricKind;
use super::quantities::Quantities;
use super::slab::{SHARED, Slab};

/// All series of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricFamily {
    /// The metric's name.
    pub name: &'static str,
    /// What it says, for people.
    pub help: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// What its values measure.
    pub unit: Unit,
    /// By component and labels.
    pub series: Vec<MetricSeries>,
}

/// One series of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSeries {
    /// The part of the system that it belongs to; empty if the handle doesn't say.
    pub component: &'static str,
    /// Names and values of its labels.
    pub labels: &'static [(&'static str, &'static str)],
    /// Its value.
    pub value: MetricValue,
}

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// Of a counter.
    Count(u64),
    /// Of a gauge or an up-down counter.
    Level(f64),
    /// Of a distribution or a summary.
    Quantities(Quantities),
}

impl MetricValue {
    /// The sum over the slabs. A gauge has one place for all.
    pub(super) fn read(shape: Shape, word: u32, slabs: &[&Slab]) -> Self {
        let sum = || slabs.iter().fold(0_u64, |sum, slab| sum.wrapping_add(slab.get(word)));
        match shape {
            Shape::Counter => MetricValue::Count(sum()),
            Shape::UpDownCounter => MetricValue::Level(sum() as i64 as f64),
            Shape::Gauge => MetricValue::Level(f64::from_bits(SHARED.get(word))),
            Shape::Distribution | Shape::Summary => {
                MetricValue::Quantities(Quantities::read(word, false, slabs))
            }
            #[cfg(feature = "metrics")]
            Shape::Fractions => MetricValue::Quantities(Quantities::read(word, true, slabs)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            MetricValue::Count(count) => *count == 0,
            MetricValue::Level(level) => *level == 0.0,
            MetricValue::Quantities(quantities) => quantities.count() == 0,
        }
    }
}
