//! Snapshots as JSON: durations in nanoseconds, sizes in bytes. Texts are as they were given.

use std::fmt;
use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::collect::histogram::Histogram;
use crate::collect::label_fallback::LabelFallback;
use crate::collect::punctuality::collector_stats;
use crate::collect::queries::{Column, Queries};
use crate::collect::snapshot::{LabelStats, Snapshot, StageStats};
use crate::collect::trace::{Span, Trace};
use crate::export::chrome::attributes;
use crate::export::readable::is_hidden;
use crate::export::table::QUANTILES;
use crate::metric::{MetricFamily, MetricSeries, MetricValue};
use crate::record::labels::LabelKind;

/// JSON as text that may go to a terminal: all characters that can't be seen are escaped, also
/// those that JSON would let stand, such as marks that turn the direction of writing. What a reader
/// parses is the same. `{:#}` lays it out.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(pub &'a Value);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.alternate() {
            true => write!(Escaping(f), "{:#}", self.0),
            false => write!(Escaping(f), "{}", self.0),
        }
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        // A line feed is one of the layout's: those in strings have been escaped.
        let hidden = |&(_, c): &(usize, char)| is_hidden(c) && c != '\n';
        while let Some((at, c)) = text.char_indices().find(hidden) {
            self.0.write_str(&text[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(self.0, "\\u{unit:04x}")?;
            }
            text = &text[at + c.len_utf8()..];
        }
        self.0.write_str(text)
    }
}

/// The stages, one object each: `name`, `component`, `calls`, `errors`, `total_ns`, `recursive_ns`,
/// `self_ns`, `p50_ns`, `p95_ns`, `p99_ns`, `p999_ns`, `max_ns`, `alloc_bytes`, `file`, `line`.
#[must_use]
pub fn stages(snapshot: &Snapshot) -> Value {
    snapshot.stages.iter().map(stage).collect()
}

fn stage(stage: &StageStats) -> Value {
    let mut object = json!({
        "name": stage.name,
        "component": stage.component,
        "mode": stage.mode.name(),
        "calls": stage.calls,
        "timed": stage.timed,
        "errors": stage.errors,
        "panics": stage.panics,
        "total_ns": stage.total_ns,
        "recursive_ns": stage.recursive_ns,
        "self_ns": stage.self_ns,
        "awaiting_ns": stage.awaiting_ns,
        "polls": stage.polls,
        "cancelled": stage.cancelled,
        "max_ns": stage.histogram.max(),
        "alloc_bytes": stage.alloc_bytes,
        "file": stage.file,
        "line": stage.line,
    });
    add_quantiles(&mut object, &stage.histogram);
    object
}

/// `p50_ns` and so on.
fn add_quantiles(object: &mut Value, histogram: &Histogram) {
    for (name, q) in QUANTILES {
        object[format!("{}_ns", name.replace('.', ""))] = histogram.quantile(q).into();
    }
}

/// The queries by one label: the value under `name`, and the figures under the names of [`Column::ALL`].
#[must_use]
pub fn labels(labels: &[LabelStats]) -> Value {
    labels.iter().map(label).collect()
}

fn label(label: &LabelStats) -> Value {
    let mut object = json!({
        "name": label.value,
        "calls": label.calls,
        "timed": label.timed,
        "errors": label.errors,
        "self_ns": label.self_ns,
        "total_ns": label.total_ns,
        "mean_ns": label.mean_ns(),
        "max_ns": label.max_ns,
        "alloc_bytes": label.alloc_bytes,
        "stages": label.stages,
        "rows": label.rows,
    });
    add_quantiles(&mut object, &label.histogram);
    object
}

/// The `limit` values of a kind of label that have most of a column since the last reset: `kind`, `by`, `since_ns` (the
/// reset's time in nanoseconds since 1970, `null` if there was none), `taken_at_ns` (that of the snapshot), `of` (how many
/// values there are) and `queries`, most first, as [`labels`] has them.
#[must_use]
pub fn queries(queries: &Queries, kind: LabelKind, by: Column, limit: usize) -> Value {
    json!({
        "kind": kind.name(),
        "by": by.name(),
        "since_ns": queries.since.map(nanos),
        "taken_at_ns": nanos(queries.taken_at),
        "of": queries.by_label(kind).len(),
        "queries": queries.top(kind, by, limit).into_iter().map(label).collect::<Value>(),
    })
}

/// Since 1970.
fn nanos(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos())
        .unwrap_or(u64::MAX)
}

/// The traces, one object each: ids in hexadecimal, times in nanoseconds, since 1970 where they are points.
#[must_use]
pub fn traces<'a>(traces: impl IntoIterator<Item = &'a Trace>) -> Value {
    traces.into_iter().map(trace).collect()
}

fn trace(trace: &Trace) -> Value {
    let span = |span: &Span| {
        let events = span.events.iter().map(|event| {
            json!({ "name": event.name, "at": nanos(event.at), "attributes": attributes(&event.attributes) })
        });
        json!({
            "id": format!("{:016x}", span.id),
            "parent": span.parent.map(|id| format!("{id:016x}")),
            "name": span.name,
            "component": span.component,
            "query": span.query.as_ref().map(labels_object),
            "start": nanos(span.start),
            "duration_ns": span.duration.as_nanos() as u64,
            "failed": span.failed,
            "error": span.error,
            "alloc_bytes": span.alloc_bytes,
            "attributes": attributes(&span.attributes),
            "events": events.collect::<Value>(),
        })
    };
    json!({
        "trace_id": format!("{:032x}", trace.trace_id),
        "parent_id": trace.parent_id.map(|id| format!("{id:016x}")),
        "labels": labels_object(&trace.labels),
        "kept": { "head": trace.kept.head, "slow": trace.kept.slow, "failed": trace.kept.failed },
        "duration_ns": trace.duration().as_nanos() as u64,
        "omitted": trace.omitted,
        "spans": trace.spans.iter().map(span).collect::<Value>(),
    })
}

fn labels_object(values: &[&str; LabelKind::ALL.len()]) -> Map<String, Value> {
    LabelKind::ALL.into_iter().map(|kind| (kind.name().to_owned(), values[kind as usize].into())).collect()
}

/// What recording uses, refused and costs, and how the collector keeps its times.
#[must_use]
pub fn recorder(snapshot: &Snapshot) -> Value {
    let recorder = &snapshot.recorder;
    let overhead = snapshot.overhead();
    let collector = collector_stats();
    let refused: Map<String, Value> =
        recorder.refused.iter().map(|&(cause, count)| (cause.to_owned(), count.into())).collect();
    let fallback = |fallback: &LabelFallback| {
        json!({
            "label": fallback.kind.name(),
            "calls": fallback.calls,
            "of": fallback.of,
            "values": fallback.values,
            "combinations": fallback.combinations,
        })
    };
    json!({
        "clock": recorder.clock,
        "threads": recorder.threads,
        "blocks": recorder.blocks,
        "bytes": recorder.bytes,
        "price_ns": {
            "timed": overhead.prices.timed,
            "counted": overhead.prices.counted,
            "labels": overhead.prices.labels,
        },
        "collector": {
            "looks": collector.looks,
            "late_last_ns": collector.late_last.as_nanos() as u64,
            "late_max_ns": collector.late_max.as_nanos() as u64,
            "overruns": collector.overruns,
            "cpu_ns": collector.cpu.as_nanos() as u64,
        },
        "recording_ns": overhead.recording.as_nanos() as u64,
        "refused": refused,
        "label_fallbacks": snapshot.label_fallbacks.iter().map(fallback).collect::<Value>(),
    })
}

/// The user's metrics, one object each: `name`, `help`, `kind`, `unit` and `series`, of each its `component`, `labels`
/// and either `value` or `count`, `sum`, `max`, `p50`, `p95`, `p99` and `p999`, in the unit.
#[must_use]
pub fn metrics(metrics: &[MetricFamily]) -> Value {
    metrics.iter().map(metric).collect()
}

fn metric(metric: &MetricFamily) -> Value {
    json!({
        "name": metric.name,
        "help": metric.help,
        "kind": metric.kind.name(),
        "unit": metric.unit.name(),
        "series": metric.series.iter().map(series).collect::<Value>(),
    })
}

fn series(series: &MetricSeries) -> Value {
    let labels: Map<String, Value> =
        series.labels.iter().map(|&(name, value)| (name.to_owned(), value.into())).collect();
    let mut object = json!({ "component": series.component, "labels": labels });
    match &series.value {
        MetricValue::Count(count) => object["value"] = (*count).into(),
        MetricValue::Level(level) => object["value"] = (*level).into(),
        MetricValue::Quantities(values) => {
            object["count"] = values.count().into();
            object["sum"] = values.sum().into();
            object["max"] = values.max().into();
            for (name, q) in QUANTILES {
                object[name.replace('.', "")] = values.quantile(q).into();
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_hidden_is_written_and_the_same_is_read(texts in prop::collection::vec(any::<String>(), 0..4)) {
            let odd = "a\u{202e}b\u{7f}\u{e0041}\u{9b}\n\u{2028}\"\\";
            let value = json!({ "texts": texts, odd: [odd, 1] });
            for text in [Text(&value).to_string(), format!("{:#}", Text(&value))] {
                prop_assert!(!text.chars().any(|c| is_hidden(c) && c != '\n'), "{:?}", text);
                prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
            }
        }
    }
}
