//! The kinds of metrics.

/// What kind of metric it is, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Values by buckets.
    Histogram,
    /// Values by quantiles.
    Summary,
}

impl MetricKind {
    /// The kind's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["counter", "gauge", "histogram", "summary"][self as usize]
    }
}
