//! Snapshots as JSON: durations in nanoseconds, sizes in bytes.

use serde_json::{Map, Value, json};

use crate::collect::snapshot::{LabelStats, Snapshot, StageStats};
use crate::export::table::QUANTILES;

/// The stages, one object each: `name`, `component`, `calls`, `errors`, `total_ns`, `self_ns`, `p50_ns`,
/// `p95_ns`, `p99_ns`, `p999_ns`, `max_ns`, `alloc_bytes`, `file`, `line`.
#[must_use]
pub fn stages(snapshot: &Snapshot) -> Value {
    snapshot.stages.iter().map(stage).collect()
}

fn stage(stage: &StageStats) -> Value {
    let mut object = json!({
        "name": stage.name,
        "component": stage.component,
        "calls": stage.calls,
        "errors": stage.errors,
        "total_ns": stage.total_ns,
        "self_ns": stage.self_ns,
        "max_ns": stage.histogram.max(),
        "alloc_bytes": stage.alloc_bytes,
        "file": stage.file,
        "line": stage.line,
    });
    for (name, q) in QUANTILES {
        object[format!("{}_ns", name.replace('.', ""))] = stage.histogram.quantile(q).into();
    }
    object
}

/// The queries by one label: the value under `name`, then `calls`, `errors`, `total_ns`, `max_ns`,
/// `alloc_bytes`.
#[must_use]
pub fn labels(labels: &[LabelStats]) -> Value {
    labels.iter().map(label).collect()
}

fn label(label: &LabelStats) -> Value {
    json!({
        "name": label.value,
        "calls": label.calls,
        "errors": label.errors,
        "total_ns": label.total_ns,
        "max_ns": label.max_ns,
        "alloc_bytes": label.alloc_bytes,
    })
}

/// What recording uses, refused and costs.
#[must_use]
pub fn recorder(snapshot: &Snapshot) -> Value {
    let recorder = &snapshot.recorder;
    let overhead = snapshot.overhead();
    let refused: Map<String, Value> =
        recorder.refused.iter().map(|&(cause, count)| (cause.to_owned(), count.into())).collect();
    json!({
        "clock": recorder.clock,
        "threads": recorder.threads,
        "blocks": recorder.blocks,
        "bytes": recorder.bytes,
        "stage_cost_ns": overhead.stage_ns,
        "labels_cost_ns": overhead.labels_ns,
        "recording_ns": overhead.recording.as_nanos() as u64,
        "refused": refused,
    })
}
