//! What happened between two snapshots.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::snapshot::{LabelStats, Snapshot, StageStats};
use super::trace::Trace;
use crate::record::interner::OTHER;

/// What happened between two looks of the collector: differences, with the later snapshot they end at.
#[derive(Clone, Debug)]
pub struct Window {
    /// Its length.
    pub duration: Duration,
    /// The state at its end.
    pub end: Snapshot,
    /// The stages that finished a call within it.
    pub stages: Vec<StageStats>,
    /// The statements that finished a query within it.
    pub statements: Vec<LabelStats>,
    /// The tenants for whom a query finished within it.
    pub tenants: Vec<LabelStats>,
    /// The traces that were kept within it.
    pub traces: Vec<Arc<Trace>>,
}

impl Window {
    /// The window from one snapshot to a later one.
    #[must_use]
    pub fn between(start: &Snapshot, end: Snapshot) -> Self {
        Self {
            duration: end.taken_at.duration_since(start.taken_at).unwrap_or_default(),
            stages: stages(&start.stages, &end.stages),
            statements: labels(&start.statements, &end.statements),
            tenants: labels(&start.tenants, &end.tenants),
            traces: Vec::new(),
            end,
        }
    }

    /// Queries that finished within the window.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.statements.iter().map(|statement| statement.calls).sum()
    }
}

fn stages(start: &[StageStats], end: &[StageStats]) -> Vec<StageStats> {
    let before: HashMap<_, _> = start.iter().map(|s| ((s.component, s.name), s)).collect();
    let mut stages = end.to_vec();
    for stage in &mut stages {
        if let Some(before) = before.get(&(stage.component, stage.name)) {
            stage.calls = stage.calls.saturating_sub(before.calls);
            stage.timed = stage.timed.saturating_sub(before.timed);
            stage.errors = stage.errors.saturating_sub(before.errors);
            stage.panics = stage.panics.saturating_sub(before.panics);
            stage.awaiting_ns = stage.awaiting_ns.saturating_sub(before.awaiting_ns);
            stage.polls = stage.polls.saturating_sub(before.polls);
            stage.cancelled = stage.cancelled.saturating_sub(before.cancelled);
            stage.total_ns = stage.total_ns.saturating_sub(before.total_ns);
            stage.recursive_ns = stage.recursive_ns.saturating_sub(before.recursive_ns);
            stage.self_ns = stage.self_ns.saturating_sub(before.self_ns);
            stage.alloc_bytes = stage.alloc_bytes.saturating_sub(before.alloc_bytes);
            stage.histogram = stage.histogram.since(&before.histogram);
        }
    }
    stages.retain(|stage| stage.calls > 0);
    stages
}

/// The longest query of a window can't be told from two running maxima, so `max_ns` stays that of all time.
pub(super) fn labels(start: &[LabelStats], end: &[LabelStats]) -> Vec<LabelStats> {
    let after: HashMap<_, _> = end.iter().map(|label| (label.value.as_str(), label.losses)).collect();
    // Figures of values that lost their entries within the window are in `other` at its end.
    let (stayed, moved): (Vec<_>, Vec<_>) =
        start.iter().partition(|label| after.get(label.value.as_str()) == Some(&label.losses));
    let before: HashMap<_, _> = stayed.into_iter().map(|label| (label.value.as_str(), label)).collect();
    let mut labels = end.to_vec();
    for label in &mut labels {
        if let Some(before) = before.get(label.value.as_str()) {
            subtract(label, before);
        }
        if label.value == OTHER {
            moved.iter().for_each(|before| subtract(label, before));
        }
    }
    labels.retain(|label| label.calls > 0);
    labels
}

fn subtract(label: &mut LabelStats, before: &LabelStats) {
    label.calls = label.calls.saturating_sub(before.calls);
    label.timed = label.timed.saturating_sub(before.timed);
    label.errors = label.errors.saturating_sub(before.errors);
    label.stages = label.stages.saturating_sub(before.stages);
    label.rows = label.rows.saturating_sub(before.rows);
    label.histogram = label.histogram.since(&before.histogram);
    label.self_ns = label.self_ns.saturating_sub(before.self_ns);
    label.total_ns = label.total_ns.saturating_sub(before.total_ns);
    label.alloc_bytes = label.alloc_bytes.saturating_sub(before.alloc_bytes);
}
