//! Traces in Chrome's trace event format, which Perfetto (<https://ui.perfetto.dev>) and `chrome://tracing` open.
//! Source: "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::{Map, Value as Json, json};

use crate::collect::trace::Trace;
use crate::export::readable::readable;
use crate::record::labels::LabelKind;
use crate::record::spans::Value;

/// The traces as a document: each on a row of its own, its spans nested by time, times in microseconds.
/// Texts are as [`readable`](crate::export::readable) has them.
#[must_use]
pub fn traces<'a>(traces: impl IntoIterator<Item = &'a Trace>) -> Json {
    let mut events = Vec::new();
    let process = std::process::id();
    for (row, trace) in traces.into_iter().enumerate() {
        let title =
            trace.labels.iter().filter(|label| !label.is_empty()).copied().collect::<Vec<_>>().join(" · ");
        events.push(json!({
            "ph": "M", "name": "thread_name", "pid": process, "tid": row, "args": { "name": title },
        }));
        for (index, span) in trace.spans.iter().enumerate() {
            let mut arguments = attributes(&span.attributes);
            arguments.insert("alloc_bytes".into(), span.alloc_bytes.into());
            arguments.insert("failed".into(), span.failed.into());
            if let Some(error) = &span.error {
                arguments.insert("error".into(), (**error).into());
            }
            if index == 0 {
                arguments.insert("trace_id".into(), format!("{:032x}", trace.trace_id).into());
            }
            if let Some(labels) = span.query.or((index == 0).then_some(trace.labels)) {
                for kind in LabelKind::ALL {
                    arguments.insert(kind.name().into(), labels[kind as usize].into());
                }
            }
            events.push(json!({
                "ph": "X", "name": span.name, "cat": span.component, "pid": process, "tid": row,
                "ts": micros(span.start), "dur": span.duration.as_nanos() as f64 / 1e3, "args": arguments,
            }));
            for event in &span.events {
                events.push(json!({
                    "ph": "i", "s": "t", "name": event.name, "cat": span.component, "pid": process, "tid": row,
                    "ts": micros(event.at), "args": attributes(&event.attributes),
                }));
            }
        }
    }
    let mut document = json!({ "traceEvents": events, "displayTimeUnit": "ns" });
    show(&mut document);
    document
}

/// Makes all texts of a document readable: viewers show them as they are.
fn show(document: &mut Json) {
    match document {
        Json::String(text) => {
            if let Cow::Owned(shown) = readable(text) {
                *text = shown;
            }
        }
        Json::Array(items) => items.iter_mut().for_each(show),
        Json::Object(members) => members.values_mut().for_each(show),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn micros(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as f64 / 1e3
}

pub(super) fn attributes(attributes: &[(&'static str, Value)]) -> Map<String, Json> {
    let json = |value: &Value| match *value {
        Value::Int(value) => value.into(),
        // JSON has no word for what is no number.
        Value::Float(value) => value.into(),
        Value::Bool(value) => value.into(),
        Value::Text(value) => value.into(),
    };
    attributes.iter().map(|(key, value)| ((*key).to_owned(), json(value))).collect()
}
