//! What happened between two snapshots.

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

/// Both are by component and name.
fn stages(start: &[StageStats], end: &[StageStats]) -> Vec<StageStats> {
    let mut before = start.iter().peekable();
    let since = |stage: &StageStats| {
        let key = (stage.component, stage.name);
        while before.next_if(|before| (before.component, before.name) < key).is_some() {}
        let Some(before) = before.next_if(|before| (before.component, before.name) == key) else {
            return Some(stage.clone());
        };
        (stage.calls > before.calls).then(|| StageStats {
            calls: stage.calls.saturating_sub(before.calls),
            timed: stage.timed.saturating_sub(before.timed),
            errors: stage.errors.saturating_sub(before.errors),
            panics: stage.panics.saturating_sub(before.panics),
            awaiting_ns: stage.awaiting_ns.saturating_sub(before.awaiting_ns),
            polls: stage.polls.saturating_sub(before.polls),
            cancelled: stage.cancelled.saturating_sub(before.cancelled),
            total_ns: stage.total_ns.saturating_sub(before.total_ns),
            recursive_ns: stage.recursive_ns.saturating_sub(before.recursive_ns),
            self_ns: stage.self_ns.saturating_sub(before.self_ns),
            alloc_bytes: stage.alloc_bytes.saturating_sub(before.alloc_bytes),
            histogram: stage.histogram.since(&before.histogram),
            ..*stage
        })
    };
    end.iter().filter_map(since).collect()
}

/// Both are by value. The longest query of a window can't be told from two running maxima, so
/// `max_ns` stays that of all time.
pub(super) fn labels(start: &[LabelStats], end: &[LabelStats]) -> Vec<LabelStats> {
    let mut before = start.iter().peekable();
    // Figures of values that lost their entries within the window are in `other` at its end.
    let mut moved = Vec::new();
    let mut labels = Vec::with_capacity(end.len());
    for label in end {
        while let Some(gone) = before.next_if(|before| before.value < label.value) {
            moved.push(gone);
        }
        match before.next_if(|before| before.value == label.value) {
            Some(before) if before.losses == label.losses => {
                if label.calls > before.calls || label.value == OTHER {
                    labels.push(since(label, before));
                }
            }
            before => {
                moved.extend(before);
                labels.push(label.clone());
            }
        }
    }
    moved.extend(before);
    if let Some(other) = labels.iter_mut().find(|label| label.value == OTHER) {
        moved.into_iter().for_each(|before| *other = since(other, before));
    }
    labels.retain(|label| label.calls > 0);
    labels
}

fn since(label: &LabelStats, before: &LabelStats) -> LabelStats {
    LabelStats {
        value: label.value.clone(),
        calls: label.calls.saturating_sub(before.calls),
        timed: label.timed.saturating_sub(before.timed),
        errors: label.errors.saturating_sub(before.errors),
        stages: label.stages.saturating_sub(before.stages),
        rows: label.rows.saturating_sub(before.rows),
        histogram: label.histogram.since(&before.histogram),
        self_ns: label.self_ns.saturating_sub(before.self_ns),
        total_ns: label.total_ns.saturating_sub(before.total_ns),
        alloc_bytes: label.alloc_bytes.saturating_sub(before.alloc_bytes),
        ..*label
    }
}
