//! The Prometheus text exposition format, 0.0.4: seconds and bytes, counters that end in `_total`.
//!
//! See <https://prometheus.io/docs/instrumenting/exposition_formats/>. No name stands twice on a
//! page, whatever others call their metrics: see [`metric`](crate::metric). Counts are written
//! exactly.

use std::io;

use super::exposition::{self, Labels, Value};
pub use super::exposition::{Family, Number};
pub use super::families::{Families, counter, gauge, gauge_by};
use super::families::{buckets, nanoseconds};
use super::{prometheus_metrics, prometheus_process, prometheus_queries};
use crate::collect::punctuality::collector_stats;
use crate::collect::snapshot::{Snapshot, StageStats};
use crate::metric::{MetricKind, registry};

/// The content type of the exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Writes a snapshot. Of two families that would take the same name the later is left out, which
/// counts as refused under `metric_kind` from the next exposition on.
///
/// # Errors
/// If writing fails.
pub fn write(snapshot: &Snapshot, more: Families, out: &mut impl io::Write) -> io::Result<()> {
    let mut families = families(snapshot);
    families.extend(more);
    let left_out = exposition::write(&families, out)?;
    if left_out > 0 {
        registry::refuse_exposed(left_out);
    }
    Ok(())
}

fn families(snapshot: &Snapshot) -> Families {
    let mut families = stage_families(&snapshot.stages);
    families.extend(prometheus_queries::families(snapshot));
    families.extend(prometheus_process::families());
    families.extend(recorder_families(snapshot));
    families.extend(collector_families());
    families.extend(snapshot.metrics.iter().map(prometheus_metrics::family));
    families
}

fn stage_families(stages: &[StageStats]) -> Families {
    let counter = |name, help, value: fn(&StageStats) -> Number| {
        let series = stages.iter().map(|stage| (stage_labels(stage), Value::Number(value(stage))));
        Family::new(name, help, MetricKind::Counter, series)
    };
    vec![
        counter("stagelight_stage_calls_total", "Finished calls of a stage.", |s| s.calls.into()),
        counter("stagelight_stage_errors_total", "Calls of a stage that returned an error.", |s| {
            s.errors.into()
        }),
        counter(
            "stagelight_stage_self_seconds_total",
            "Time within a stage but in no stage below it.",
            |s| Number::Nanoseconds(s.self_ns),
        ),
        counter(
            "stagelight_stage_allocated_bytes_total",
            "Bytes allocated within a stage and the stages below it.",
            |s| s.alloc_bytes.into(),
        ),
        Family::new(
            "stagelight_stage_duration_seconds",
            "Time within a stage, the stages below it included: timed calls, each for those that it stands for.",
            MetricKind::Histogram,
            stages.iter().map(|stage| (stage_labels(stage), duration(stage))),
        ),
    ]
}

fn recorder_families(snapshot: &Snapshot) -> Families {
    let recorder = &snapshot.recorder;
    let overhead = snapshot.overhead();
    let governor = crate::collect::governor::governor();
    let refused = recorder
        .refused
        .iter()
        .copied()
        .chain([("histogram_cap", prometheus_queries::beyond_cap())])
        .map(|(cause, count)| (Labels::default().and("cause", cause), Value::Number(count.into())));
    vec![
        Family::new(
            "stagelight_refused_total",
            "What recording had to refuse or to merge, by cause.",
            MetricKind::Counter,
            refused,
        ),
        gauge(
            "stagelight_governor_budget_ratio",
            "Share of the process's CPU time that recording may take; 0 if nothing holds it to one.",
            governor.budget,
        ),
        gauge(
            "stagelight_governor_spent_ratio",
            "Estimated share that recording took in the last window.",
            governor.spent,
        ),
        gauge(
            "stagelight_governor_throttled",
            "Label sets of which not all queries are timed.",
            governor.throttled,
        ),
        gauge("stagelight_threads", "Threads that record at present.", recorder.threads as u64),
        gauge("stagelight_memory_bytes", "Memory that recording uses.", recorder.bytes as u64),
        counter(
            "stagelight_recording_seconds_total",
            "Estimated time spent recording: calls times the price of one, measured on this machine.",
            &[(&[], nanoseconds(overhead.recording))],
        ),
    ]
}

fn collector_families() -> Families {
    let collector = collector_stats();
    vec![
        counter(
            "stagelight_collector_looks_total",
            "Looks that the collector took at what is active and at windows' ends.",
            &[(&[], collector.looks)],
        ),
        counter(
            "stagelight_collector_overruns_total",
            "Looks that took longer than their period, exporters included.",
            &[(&[], collector.overruns)],
        ),
        gauge(
            "stagelight_collector_late_seconds",
            "How long after its time the collector's last look came.",
            collector.late_last.as_secs_f64(),
        ),
        gauge(
            "stagelight_collector_late_max_seconds",
            "How long after its time a look of the collector came at worst.",
            collector.late_max.as_secs_f64(),
        ),
        counter(
            "stagelight_collector_cpu_seconds_total",
            "CPU time of the collector's thread, exporters included.",
            &[(&[], nanoseconds(collector.cpu))],
        ),
    ]
}

fn stage_labels(stage: &StageStats) -> Labels {
    Labels::default().and("component", stage.component).and("stage", stage.name)
}

fn duration(stage: &StageStats) -> Value {
    // Of all that the buckets count.
    buckets(&stage.histogram, stage.total_ns.wrapping_add(stage.recursive_ns))
}
