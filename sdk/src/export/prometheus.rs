//! The Prometheus text exposition format, 0.0.4: seconds and bytes, counters that end in `_total`.
//!
//! See <https://prometheus.io/docs/instrumenting/exposition_formats/>. The `prometheus` crate encodes;
//! the data stays ours.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TEXT_FORMAT, TextEncoder};
use std::io;

use crate::collect::punctuality::collector_stats;
use crate::collect::snapshot::{LabelStats, Snapshot, StageStats};
use crate::export::prometheus_metrics;
use crate::record::labels::LabelKind;

/// The content type of the exposition.
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// Borders of the histogram's buckets, as powers of four of nanoseconds: 256 ns to 69 s.
/// Being powers of two, they fall on borders of our cells, so the bucket counts are exact.
const BUCKET_POWERS: std::ops::RangeInclusive<u32> = 4..=18;

/// More metric families for one exposition, from whoever else has figures to show.
pub type Families = Vec<MetricFamily>;

/// Writes a snapshot.
///
/// # Errors
/// If writing fails.
pub fn write(snapshot: &Snapshot, more: Families, out: &mut impl io::Write) -> io::Result<()> {
    let mut families = families(snapshot);
    families.extend(more);
    // A family without a metric is an error to the encoder and nothing to a reader.
    families.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new().encode(&families, out).map_err(io::Error::other)
}

fn families(snapshot: &Snapshot) -> Families {
    let mut families = stage_families(&snapshot.stages);
    for kind in LabelKind::ALL {
        families.extend(label_families(kind, snapshot.by_label(kind)));
    }
    families.extend(recorder_families(snapshot));
    families.extend(collector_families());
    families.extend(snapshot.metrics.iter().map(prometheus_metrics::family));
    families
}

fn stage_families(stages: &[StageStats]) -> Families {
    let counter = |name, help, value: fn(&StageStats) -> f64| {
        family(
            name,
            help,
            MetricType::COUNTER,
            stages.iter().map(|stage| counter_metric(stage_labels(stage), value(stage))),
        )
    };
    vec![
        counter("stagelight_stage_calls_total", "Finished calls of a stage.", |s| s.calls as f64),
        counter("stagelight_stage_errors_total", "Calls of a stage that returned an error.", |s| {
            s.errors as f64
        }),
        counter(
            "stagelight_stage_self_seconds_total",
            "Time within a stage but in no stage below it.",
            |s| seconds(s.self_ns),
        ),
        counter(
            "stagelight_stage_allocated_bytes_total",
            "Bytes allocated within a stage and the stages below it.",
            |s| s.alloc_bytes as f64,
        ),
        family(
            "stagelight_stage_duration_seconds",
            "Time within a stage, the stages below it included: timed calls, each for those that it stands for.",
            MetricType::HISTOGRAM,
            stages.iter().map(duration_metric),
        ),
    ]
}

fn label_families(kind: LabelKind, labels: &[LabelStats]) -> Families {
    let kind = kind.name();
    // A kind that no query named says nothing.
    if labels.iter().all(|label| label.value.is_empty()) {
        return Vec::new();
    }
    let counter = |name: &str, help: &str, value: fn(&LabelStats) -> f64| {
        let metrics = labels.iter().map(|label| counter_metric(vec![pair(kind, &label.value)], value(label)));
        family(&format!("stagelight_{kind}_{name}"), help, MetricType::COUNTER, metrics)
    };
    vec![
        counter("queries_total", &format!("Finished queries by {kind}."), |l| l.calls as f64),
        counter("query_errors_total", &format!("Queries that returned an error, by {kind}."), |l| {
            l.errors as f64
        }),
        counter("query_seconds_total", &format!("Time within queries, by {kind}."), |l| seconds(l.total_ns)),
        counter("query_allocated_bytes_total", &format!("Bytes allocated within queries, by {kind}."), |l| {
            l.alloc_bytes as f64
        }),
    ]
}

fn recorder_families(snapshot: &Snapshot) -> Families {
    let recorder = &snapshot.recorder;
    let overhead = snapshot.overhead();
    let governor = crate::collect::governor::governor();
    let refused = recorder
        .refused
        .iter()
        .map(|&(cause, count)| counter_metric(vec![pair("cause", cause)], count as f64));
    vec![
        family(
            "stagelight_refused_total",
            "What recording had to refuse or to merge, by cause.",
            MetricType::COUNTER,
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
            governor.throttled as f64,
        ),
        gauge("stagelight_threads", "Threads that record at present.", recorder.threads as f64),
        gauge("stagelight_memory_bytes", "Memory that recording uses.", recorder.bytes as f64),
        counter(
            "stagelight_recording_seconds_total",
            "Estimated time spent recording: calls times the price of one, measured on this machine.",
            &[(&[], overhead.recording.as_secs_f64())],
        ),
    ]
}

fn collector_families() -> Families {
    let collector = collector_stats();
    vec![
        counter(
            "stagelight_collector_looks_total",
            "Looks that the collector took at what is active and at windows' ends.",
            &[(&[], collector.looks as f64)],
        ),
        counter(
            "stagelight_collector_overruns_total",
            "Looks that took longer than their period, exporters included.",
            &[(&[], collector.overruns as f64)],
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
            &[(&[], collector.cpu.as_secs_f64())],
        ),
    ]
}

/// A counter of the given series, each of labels and a value. By convention its name ends in `_total`.
#[must_use]
pub fn counter(name: &str, help: &str, series: &[(&[(&str, &str)], f64)]) -> MetricFamily {
    let series = series.iter().map(|(labels, value)| {
        counter_metric(labels.iter().map(|(name, value)| pair(name, value)).collect(), *value)
    });
    family(name, help, MetricType::COUNTER, series)
}

pub(super) fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    metrics: impl IntoIterator<Item = Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics.into_iter().collect());
    family
}

/// A family of one gauge without labels.
#[must_use]
pub fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    family(name, help, MetricType::GAUGE, [gauge_metric(Vec::new(), value)])
}

/// A family of gauges that differ in one label: its name and value, and what the gauge stands at.
#[must_use]
pub fn gauge_by<'a>(
    name: &str,
    help: &str,
    series: impl IntoIterator<Item = ((&'a str, &'a str), f64)>,
) -> MetricFamily {
    let series = series.into_iter().map(|((label, value), at)| gauge_metric(vec![pair(label, value)], at));
    family(name, help, MetricType::GAUGE, series)
}

fn gauge_metric(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}

pub(super) fn counter_metric(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

/// A label. Control characters other than the line feed, which the format escapes, have no place in a text
/// that people read and become the replacement character.
pub(super) fn pair(name: &str, value: &str) -> LabelPair {
    let readable = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.chars().map(readable).collect());
    pair
}

fn stage_labels(stage: &StageStats) -> Vec<LabelPair> {
    vec![pair("component", stage.component), pair("stage", stage.name)]
}

fn duration_metric(stage: &StageStats) -> Metric {
    let bucket = |power: u32| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(seconds(1 << power));
        bucket.set_cumulative_count(stage.histogram.count_below_power(power));
        bucket
    };
    let mut histogram = Histogram::default();
    // Not the exact count, which has a counter of its own: a reader takes buckets that go back for a restart.
    histogram.set_sample_count(stage.histogram.weight());
    histogram.set_sample_sum(seconds(stage.total_ns));
    histogram.set_bucket(BUCKET_POWERS.map(|half| bucket(2 * half)).collect());
    let mut metric = Metric::from_label(stage_labels(stage));
    metric.set_histogram(histogram);
    metric
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
