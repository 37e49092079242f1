//! Stages are `tracing` spans for those who ask, and what is logged within a query has the ids of its trace.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use stagelight::bridge::tracing::{StageLayer, WithIds, spans_from_stages};
use stagelight::{TraceSettings, query, snapshot, stage};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// Notes what happens to spans.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Failure(bool);

impl Visit for Failure {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0 |= field.name() == "error" && value;
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Notes {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        let parent = context.lookup_current().map_or("none", |span| span.name());
        self.note(format!("{} {} in {parent}", metadata.level(), metadata.name()));
        assert!(metadata.name() != "emit.panics", "a subscriber that panics");
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut failure = Failure(false);
        values.record(&mut failure);
        self.note(format!("{} failed: {}", context.span(id).unwrap().name(), failure.0));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.note(format!("{} closed", context.span(&id).unwrap().name()));
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[query(name = "emit.query", key = "emit")]
fn ask(fail: bool) -> Result<(), ()> {
    hidden();
    inner(fail)
}

#[query(name = "ids.query", key = "ids")]
fn say() {
    info!("within");
}

#[stage(name = "emit.inner")]
fn inner(fail: bool) -> Result<(), ()> {
    if fail { Err(()) } else { Ok(()) }
}

#[stage(name = "hidden")]
fn hidden() {}

#[stage(name = "emit.panics")]
fn panics() -> u32 {
    7
}

#[test]
fn stages_are_spans_for_those_who_ask() {
    let notes = Notes::default();
    let registry = tracing_subscriber::registry().with(notes.clone()).with(StageLayer::new());
    tracing::subscriber::with_default(registry, || {
        ask(false).unwrap();
        assert_eq!(notes.take(), [""; 0], "nobody has asked");
        spans_from_stages("emit.*", Level::DEBUG);
        spans_from_stages("*::emit.inner", Level::INFO);
        ask(false).unwrap();
        let inner = "INFO emit.inner in emit.query";
        assert_eq!(
            notes.take(),
            ["DEBUG emit.query in none", inner, "emit.inner closed", "emit.query closed"]
        );
        ask(true).unwrap_err();
        assert_eq!(
            notes.take(),
            [
                "DEBUG emit.query in none",
                inner,
                "emit.inner failed: true",
                "emit.inner closed",
                "emit.query failed: true",
                "emit.query closed"
            ]
        );
        // The bridge that makes stages of spans leaves those alone.
        assert_eq!(snapshot().stage("emit.query").map(|stage| stage.calls), Some(3));
        // A subscriber's panic is not the program's.
        assert_eq!(panics(), 7);
        assert_eq!(notes.take().len(), 1);
        ask(false).unwrap();
        assert_eq!(notes.take().len(), 4);
    });
}

#[test]
fn what_is_logged_in_a_query_has_the_ids_of_its_trace() {
    let collector = stagelight::collector()
        .every(Duration::from_millis(20))
        .traces(Some(TraceSettings { head: 1.0, slow: None }))
        .start()
        .unwrap();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .event_format(WithIds(format().without_time()))
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        warn!("outside");
        say();
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let (outside, within) = text.trim_end().split_once('\n').unwrap();
    assert!(outside.trim_start().starts_with("WARN") && within.ends_with("within"), "{text}");
    let ids: Vec<&str> = within.split(' ').take(2).collect();
    let patience = Instant::now() + Duration::from_secs(20);
    let trace = loop {
        let traces = stagelight::recent_traces();
        if let Some(trace) =
            traces.into_iter().find(|trace| ids[0] == format!("trace_id={:032x}", trace.trace_id))
        {
            break trace;
        }
        assert!(Instant::now() < patience, "{} is no trace that was kept", ids[0]);
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(ids[1], format!("span_id={:016x}", trace.spans[0].id), "{trace:?}");
    collector.stop();
}
