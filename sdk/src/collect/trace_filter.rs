//! Which of the remembered traces are asked for.

use std::time::Duration;

use super::trace::Trace;
use crate::record::labels::LabelKind;

/// What traces shall have; by default anything.
///
/// ```
/// use stagelight::{LabelKind, TraceFilter, find_traces};
///
/// let filter = TraceFilter { failed: true, limit: 10, ..TraceFilter::default() };
/// let failures = find_traces(&filter.with(LabelKind::Tenant, "acme"));
/// # assert!(failures.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceFilter {
    /// Values that the query's labels must have, in the order of [`LabelKind::ALL`]; `""` for
    /// queries that did not say. A statement may also be that of a query nested in it.
    pub labels: [Option<String>; LabelKind::ALL.len()],
    /// How long the query took at least.
    pub min: Duration,
    /// Only those that were kept for having failed.
    pub failed: bool,
    /// How many there shall be at most, the latest.
    pub limit: usize,
}

impl Default for TraceFilter {
    fn default() -> Self {
        Self { labels: Default::default(), min: Duration::ZERO, failed: false, limit: usize::MAX }
    }
}

impl TraceFilter {
    /// Only those whose query has this label.
    #[must_use]
    pub fn with(mut self, kind: LabelKind, value: impl Into<String>) -> Self {
        self.labels[kind as usize] = Some(value.into());
        self
    }

    /// Whether a trace has what is asked for, but for how many there are.
    #[must_use]
    pub fn matches(&self, trace: &Trace) -> bool {
        let has = |kind: LabelKind| {
            let Some(wanted) = &self.labels[kind as usize] else { return true };
            let mut nested = trace.spans.iter().filter_map(|span| span.query);
            trace.labels[kind as usize] == wanted
                || kind == LabelKind::Statement && nested.any(|labels| labels[kind as usize] == wanted)
        };
        LabelKind::ALL.into_iter().all(has)
            && trace.duration() >= self.min
            && (trace.kept.failed || !self.failed)
    }
}
