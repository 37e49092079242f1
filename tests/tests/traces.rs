//! Traces of the queries that were slow, failed or were chosen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stagelight::{
    Collector, Mode, Trace, TraceContext, TraceSettings, Value, event, query, record, set_mode, stage,
};
use stagelight_tests::burn;

/// There is one set of recent traces.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn collect(settings: TraceSettings) -> Collector {
    stagelight::collector()
        .every(Duration::from_millis(20))
        .budget(None)
        .active_history(Some((200, Duration::from_secs(1))))
        .traces(Some(settings))
        .start()
        .unwrap()
}

const NONE: TraceSettings = TraceSettings { head: 0.0, slow: None };
const ALL: TraceSettings = TraceSettings { head: 1.0, slow: None };

/// The traces of a statement, the newest first, once the collector has looked.
fn traces(statement: &str) -> Vec<Arc<Trace>> {
    std::thread::sleep(Duration::from_millis(50));
    stagelight::recent_traces().into_iter().filter(|trace| trace.labels[0] == statement).collect()
}

#[stage(name = "trace.leaf")]
fn leaf(work: u64) {
    record("work", work);
    burn(work);
}

#[query(name = "trace.query", key = statement, tenant = "acme")]
fn execute(statement: &str, work: u64) -> Result<(), String> {
    event!("started", attempt = 1, ratio = 0.5, cold = true, how = "index");
    record("rows", 7_u64);
    leaf(work);
    stagelight::stage_block!("trace.middle", {
        leaf(0);
        event!("between");
        leaf(0);
    });
    if work == 666 { Err("as the test wants".into()) } else { Ok(()) }
}

#[test]
fn a_trace_holds_the_tree_its_attributes_and_its_events() {
    let _alone = alone();
    let collector = collect(ALL);
    execute("tree", 2_000_000).unwrap();
    let traces = traces("tree");
    let trace = &traces[0];
    assert_eq!(trace.labels, ["tree", "acme", "", ""]);
    assert!(trace.kept.head && !trace.kept.failed && trace.parent_id.is_none());
    let names: Vec<_> = trace.spans.iter().map(|span| span.name).collect();
    assert_eq!(names, ["trace.query", "trace.leaf", "trace.middle", "trace.leaf", "trace.leaf"]);
    let [root, first, middle, second, third] = &trace.spans[..] else { panic!("{trace:?}") };
    assert_eq!(root.parent, None);
    assert_eq!([first.parent, middle.parent], [Some(root.id); 2]);
    assert_eq!([second.parent, third.parent], [Some(middle.id); 2]);
    assert!(first.start >= root.start && middle.start >= first.start && third.start >= second.start);
    assert!(first.duration >= Duration::from_millis(2) && root.duration >= first.duration + middle.duration);
    assert_eq!(root.attributes, [("rows", Value::Int(7))]);
    assert_eq!(first.attributes, [("work", Value::Int(2_000_000))]);
    let attributes = [
        ("attempt", Value::Int(1)),
        ("ratio", Value::Float(0.5)),
        ("cold", Value::Bool(true)),
        ("how", Value::Text("index")),
    ];
    assert_eq!((root.events[0].name, &root.events[0].attributes[..]), ("started", &attributes[..]));
    assert_eq!((middle.events.len(), middle.events[0].name), (1, "between"));
    assert!(second.events.is_empty() && third.events.is_empty());

    let json = stagelight::export::json::traces([&**trace]);
    assert_eq!(json[0]["spans"][1]["attributes"]["work"], 2_000_000);
    assert_eq!(json[0]["trace_id"].as_str().unwrap().len(), 32);
    check_chrome(&stagelight::export::chrome::traces([&**trace]));
    drop(collector);
    assert!(stagelight::recent_traces().is_empty());
}

#[test]
fn stages_that_are_only_timed_are_no_spans() {
    let _alone = alone();
    let collector = collect(ALL);
    set_mode("trace.middle", Mode::Time);
    execute("timed only", 0).unwrap();
    let trace = traces("timed only").remove(0);
    let names: Vec<_> = trace.spans.iter().map(|span| span.name).collect();
    assert_eq!(names, ["trace.query", "trace.leaf", "trace.leaf", "trace.leaf"]);
    assert!(trace.spans[1..].iter().all(|span| span.parent == Some(trace.spans[0].id)), "{trace:?}");
    set_mode("trace.query", Mode::Time);
    execute("no trace", 0).unwrap();
    assert!(traces("no trace").is_empty());
    set_mode("*", Mode::Span);
    drop(collector);
}

/// What Perfetto's importer and `chrome://tracing` demand of each event.
fn check_chrome(document: &serde_json::Value) {
    let events = document["traceEvents"].as_array().unwrap();
    assert!(events.iter().any(|event| event["ph"] == "M"));
    let complete: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(complete.len(), 5);
    for event in events {
        assert!(event["pid"].is_u64() && event["tid"].is_u64() && event["name"].is_string(), "{event}");
        if event["ph"] != "M" {
            assert!(event["ts"].is_f64() && event["cat"].is_string(), "{event}");
        }
    }
    // Slices of a row must nest: to the rounding of a double, in microseconds since 1970.
    let (start, end) = (
        complete[0]["ts"].as_f64().unwrap(),
        complete[0]["ts"].as_f64().unwrap() + complete[0]["dur"].as_f64().unwrap(),
    );
    for slice in &complete[1..] {
        let (from, duration) = (slice["ts"].as_f64().unwrap(), slice["dur"].as_f64().unwrap());
        assert!(from >= start - 1.0 && from + duration <= end + 1.0);
    }
}

#[test]
fn without_a_choice_only_the_failed_and_the_slow_are_kept() {
    let _alone = alone();
    let collector = collect(NONE);
    for _ in 0..500 {
        execute("tail", 1_000).unwrap();
    }
    let before = traces("tail").len();
    // A distribution exists by now, and the collector has seen it.
    std::thread::sleep(Duration::from_millis(100));
    execute("tail", 30_000_000).unwrap();
    execute("tail", 666).unwrap_err();
    let traces = traces("tail");
    let slow = traces.iter().find(|trace| trace.kept.slow && trace.spans[0].duration.as_millis() >= 30);
    assert!(slow.is_some_and(|trace| !trace.kept.head && trace.spans.len() == 5));
    let failed: Vec<_> = traces.iter().filter(|trace| trace.kept.failed).collect();
    assert!(failed.len() == 1 && failed[0].spans[0].failed);
    // One in a hundred is slow by definition, and a noisy machine makes some more so.
    assert!(before < 100, "{before} of 500 were kept");
    drop(collector);
}

#[test]
fn an_absolute_threshold_decides_alone() {
    let _alone = alone();
    let collector = collect(TraceSettings { head: 0.0, slow: Some(Duration::from_millis(20)) });
    // The threshold is set with the first window after the statement is known.
    execute("absolute", 0).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    for work in [0, 25_000_000, 0, 1_000_000] {
        execute("absolute", work).unwrap();
    }
    let traces = traces("absolute");
    assert!(traces.iter().all(|trace| trace.spans[0].duration >= Duration::from_millis(20)));
    assert!(traces.iter().any(|trace| trace.spans[1].duration >= Duration::from_millis(25)));
    drop(collector);
}

#[test]
fn a_trace_comes_in_and_goes_on() {
    #[query(name = "trace.joined", key = "joined")]
    fn joined(header: &str) -> TraceContext {
        header.parse::<TraceContext>().unwrap().join();
        TraceContext::current().unwrap()
    }
    let _alone = alone();
    let collector = collect(ALL);
    let out = joined("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!(format!("{:x}", out.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    let traces = traces("joined");
    assert_eq!((traces[0].trace_id, traces[0].parent_id), (out.trace_id, Some(0x00f0_67aa_0ba9_02b7)));
    assert_eq!(traces[0].spans[0].id, out.span_id);
    assert_eq!(TraceContext::current(), None);
    drop(collector);
}

#[test]
fn spans_of_an_async_query_are_gathered_over_threads_and_polls() {
    #[query(name = "trace.async", key = "async")]
    async fn outer() -> Result<(), ()> {
        for _ in 0..3 {
            inner().await;
            tokio::task::yield_now().await;
        }
        leaf(0);
        Err(())
    }
    #[stage(name = "trace.awaits")]
    async fn inner() {
        leaf(10_000);
        tokio::time::sleep(Duration::from_millis(2)).await;
        leaf(10_000);
    }
    let _alone = alone();
    let collector = collect(NONE);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(outer())).collect();
        for task in tasks {
            task.await.unwrap().unwrap_err();
        }
    });
    let traces = traces("async");
    assert_eq!(traces.len(), 8);
    for trace in &traces {
        let count = |name: &str| trace.spans.iter().filter(|span| span.name == name).count();
        assert_eq!((count("trace.async"), count("trace.awaits"), count("trace.leaf")), (1, 3, 7));
        let root = &trace.spans[0];
        assert!(root.name == "trace.async" && root.failed && root.duration >= Duration::from_millis(6));
        for span in trace.spans.iter().filter(|span| span.name == "trace.awaits") {
            assert_eq!(span.parent, Some(root.id));
            let children = trace.spans.iter().filter(|child| child.parent == Some(span.id)).count();
            assert_eq!(children, 2);
        }
    }
    drop(collector);
}

#[test]
fn a_full_ring_refuses_and_counts() {
    #[query(name = "trace.many", key = "many")]
    fn many() {
        for _ in 0..5_000 {
            leaf(0);
        }
    }
    let _alone = alone();
    let collector = collect(ALL);
    let refused = || {
        stagelight::snapshot().recorder.refused.iter().find(|(cause, _)| *cause == "spans_full").unwrap().1
    };
    let before = refused();
    many();
    assert!(refused() - before >= 5_000 + 5_000 + 1 - 2_048);
    // The next ones fit again.
    execute("after", 0).unwrap();
    assert_eq!(traces("after").len(), 1);
    drop(collector);
}
