//! Families of what a snapshot has, made of numbers and labels.

use std::time::Duration;

use super::exposition::{Family, Labels, Number, Value};
use crate::collect::histogram::Histogram;
use crate::metric::MetricKind;

/// More metric families for one exposition, from whoever else has figures to show.
pub type Families = Vec<Family>;

/// Borders of the histogram's buckets, as powers of four of nanoseconds: 256 ns to 69 s.
/// Being powers of two, they fall on borders of our cells, so the bucket counts are exact.
const BUCKET_POWERS: std::ops::RangeInclusive<u32> = 4..=18;

/// A counter of the given series, each of labels and a value. By convention its name ends in `_total`.
#[must_use]
pub fn counter<N: Copy + Into<Number>>(name: &str, help: &str, series: &[(&[(&str, &str)], N)]) -> Family {
    let series = series.iter().map(|(labels, value)| {
        let labels = labels.iter().fold(Labels::default(), |labels, (name, value)| labels.and(name, value));
        (labels, Value::Number((*value).into()))
    });
    Family::new(name, help, MetricKind::Counter, series)
}

/// A family of one gauge without labels.
#[must_use]
pub fn gauge(name: &str, help: &str, value: impl Into<Number>) -> Family {
    Family::new(name, help, MetricKind::Gauge, [(Labels::default(), Value::Number(value.into()))])
}

/// A family of gauges that differ in one label: its name and value, and what the gauge stands at.
#[must_use]
pub fn gauge_by<'a, N: Into<Number>>(
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = ((&'a str, &'a str), N)>,
) -> Family {
    let series = series
        .into_iter()
        .map(|((label, value), at)| (Labels::default().and(label, value), Value::Number(at.into())));
    Family::new(name, help, MetricKind::Gauge, series)
}

pub(super) fn nanoseconds(duration: Duration) -> Number {
    Number::Nanoseconds(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// A histogram of durations that come to `sum_ns`.
pub(super) fn buckets(histogram: &Histogram, sum_ns: u64) -> Value {
    let bucket = |power: u32| (Number::Nanoseconds(1 << power), histogram.count_below_power(power));
    Value::Histogram {
        buckets: BUCKET_POWERS.map(|half| bucket(2 * half)).collect(),
        sum: Number::Nanoseconds(sum_ns),
        // Not the exact count, which has a counter of its own: a reader takes buckets that go back
        // for a restart.
        count: histogram.weight(),
    }
}
