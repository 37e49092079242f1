//! Traces of the queries that were slow, failed or were chosen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stagelight::{
    Collector, CollectorBuilder, Kept, LabelKind, Mode, Trace, TraceContext, TraceFilter, TraceSettings,
    Value, event, find_traces, query, record, set_mode, stage,
};
use stagelight_tests::burn;

/// There is one set of recent traces.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder(settings: TraceSettings) -> CollectorBuilder {
    stagelight::collector()
        .every(Duration::from_millis(20))
        .budget(None)
        .active_history(Some((200, Duration::from_secs(1))))
        .traces(Some(settings))
}

fn collect(settings: TraceSettings) -> Collector {
    builder(settings).start().unwrap()
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

fn refused(cause: &str) -> u64 {
    stagelight::snapshot().recorder.refused.iter().find(|(known, _)| *known == cause).unwrap().1
}

#[test]
fn a_query_of_many_spans_keeps_the_longest_and_says_how_many_it_left_out() {
    #[query(name = "trace.many", key = "many")]
    fn many() {
        for n in 0..5_000 {
            if n % 1_000 == 7 { outer(n) } else { leaf(0) }
        }
        record("at the end", true);
    }
    #[stage(name = "trace.outer")]
    fn outer(n: u64) {
        record("n", n);
        leaf(2_000_000);
    }
    let _alone = alone();
    let collector = collect(ALL);
    let before = ["spans_short", "spans_full"].map(refused);
    many();
    let traces = traces("many");
    let trace = &traces[0];
    assert!(trace.spans.len() <= 512 && trace.spans.len() > 50, "{}", trace.spans.len());
    assert_eq!(trace.spans.len() as u64 + trace.omitted, 1 + 4_995 + 2 * 5);
    assert_eq!(["spans_short", "spans_full"].map(refused), [before[0] + trace.omitted, before[1]]);
    let root = &trace.spans[0];
    assert_eq!((root.name, &root.attributes[..]), ("trace.many", &[("at the end", Value::Bool(true))][..]));
    let of = |name: &'static str| trace.spans.iter().filter(move |span| span.name == name);
    assert_eq!(of("trace.outer").count(), 5);
    for (index, span) in of("trace.outer").enumerate() {
        assert_eq!(span.parent, Some(root.id));
        assert_eq!(span.attributes, [("n", Value::Int(index as i64 * 1_000 + 7))]);
        assert_eq!(of("trace.leaf").filter(|leaf| leaf.parent == Some(span.id)).count(), 1);
    }
    let shortest = trace.spans.iter().map(|span| span.duration).min().unwrap();
    assert!(of("trace.leaf").all(|leaf| leaf.attributes.len() == 1) && shortest > Duration::ZERO);
    // The next ones are whole again.
    execute("after", 0).unwrap();
    assert_eq!(traces_of_spans("after"), [5]);
    drop(collector);
}

/// How many spans each trace of the statement has.
fn traces_of_spans(statement: &str) -> Vec<usize> {
    traces(statement).iter().map(|trace| trace.spans.len()).collect()
}

#[test]
fn a_healthy_load_loses_no_trace_that_matters() {
    const FAILURES: u64 = 40;
    let _alone = alone();
    let collector = collect(TraceSettings::default());
    let causes = ["traces_full", "spans_full", "spans_short", "traces_thinned"];
    let before = causes.map(refused);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for n in 0..FAILURES / 2 * 1_000 {
                    // Chosen ones by the thousand; one in a thousand fails.
                    let _ = execute("healthy", if n % 1_000 == 500 { 666 } else { 0 });
                }
            });
        }
    });
    let traces = traces("healthy");
    let after = causes.map(refused);
    assert_eq!(after[..3], before[..3]);
    let failed = traces.iter().filter(|trace| trace.kept.failed);
    assert!(failed.clone().all(|trace| trace.spans.len() == 5 && trace.omitted == 0));
    assert_eq!(failed.count() as u64, FAILURES);
    assert!(traces.iter().any(|trace| trace.kept == Kept { head: true, ..Kept::default() }));
    drop(collector);
}

#[test]
fn a_hot_statement_drives_out_no_slow_and_no_failed_trace_of_others() {
    let _alone = alone();
    let collector = collect(TraceSettings { head: 1.0, slow: Some(Duration::from_millis(20)) });
    execute("rare", 0).unwrap();
    // Until the threshold holds for the statement.
    std::thread::sleep(Duration::from_millis(100));
    execute("rare", 25_000_000).unwrap();
    execute("rare", 666).unwrap_err();
    for n in 0..50_000 {
        let _ = execute("hot", if n % 2 == 0 { 666 } else { 0 });
    }
    let kept: Vec<_> = traces("rare").iter().map(|trace| trace.kept).collect();
    assert_eq!(kept.iter().filter(|kept| kept.failed).count(), 1, "{kept:?}");
    assert!(kept.iter().any(|kept| kept.slow && !kept.failed), "{kept:?}");
    assert!(traces("hot").len() > 100);
    drop(collector);
}

#[test]
fn each_query_of_a_transaction_names_its_statement_and_its_failure_marks_the_trace() {
    #[query(name = "trace.transaction", key = "begin; commit", tenant = "acme")]
    fn transaction(fail: bool) {
        let _ = nested("update", fail);
        leaf(0);
        nested("insert", false).unwrap();
    }
    #[query(name = "trace.nested", key = statement, tenant = "acme")]
    fn nested(statement: &str, fail: bool) -> Result<(), String> {
        leaf(0);
        if fail { Err("no".into()) } else { Ok(()) }
    }
    let _alone = alone();
    let collector = collect(NONE);
    transaction(false);
    transaction(true);
    let found = traces("begin; commit");
    assert_eq!(found.len(), 1, "only the one with a failure in it is kept");
    let trace = &found[0];
    assert!(trace.kept.failed && !trace.spans[0].failed);
    let statement = |name: &str| {
        let spans = trace.spans.iter().filter(|span| span.name == name);
        spans.map(|span| span.query.map(|labels| labels[0])).collect::<Vec<_>>()
    };
    assert_eq!(statement("trace.transaction"), [Some("begin; commit")]);
    assert_eq!(statement("trace.nested"), [Some("update"), Some("insert")]);
    assert_eq!(statement("trace.leaf"), [None; 3]);
    let failed: Vec<_> =
        trace.spans.iter().filter(|span| span.failed).map(|span| span.query.unwrap()[0]).collect();
    assert_eq!(failed, ["update"]);
    let json = stagelight::export::json::traces([&**trace]);
    assert_eq!(json[0]["spans"][1]["query"]["statement"], "update");

    // By the statement of a query in it, too.
    let with = |filter: TraceFilter| find_traces(&filter).len();
    let any = TraceFilter::default();
    assert_eq!(with(any.clone().with(LabelKind::Statement, "insert")), 1);
    assert_eq!(with(any.clone().with(LabelKind::Statement, "delete")), 0);
    assert_eq!(with(any.clone().with(LabelKind::Tenant, "acme")), 1);
    assert_eq!(with(any.clone().with(LabelKind::Tenant, "")), 0);
    assert_eq!(with(TraceFilter { failed: true, ..any.clone() }), 1);
    assert_eq!(with(TraceFilter { min: Duration::from_secs(60), ..any.clone() }), 0);
    assert_eq!(with(TraceFilter { limit: 0, ..any }), 0);
    drop(collector);
}

#[test]
fn a_query_that_panics_leaves_a_failed_trace() {
    #[query(name = "trace.panics", key = "panics")]
    fn panics() {
        leaf(0);
        panic!("as the test wants");
    }
    let _alone = alone();
    let collector = collect(NONE);
    std::thread::spawn(panics).join().unwrap_err();
    let traces = traces("panics");
    assert!(traces.len() == 1 && traces[0].kept.failed, "{traces:?}");
    drop(collector);
}

#[test]
fn an_async_query_of_many_spans_keeps_the_longest_over_all_its_polls() {
    #[query(name = "trace.async_many", key = "async many")]
    async fn many() {
        for n in 0..4_000 {
            leaf(if n % 500 == 9 { 1_000_000 } else { 0 });
            if n % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        nested().await;
    }
    #[query(name = "trace.async_nested", key = "nested")]
    async fn nested() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let _alone = alone();
    let collector = collect(ALL);
    let before = refused("spans_full");
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(many());
    let found = traces("async many");
    let trace = &found[0];
    assert_eq!(trace.spans.len() as u64 + trace.omitted, 4_002);
    assert!(trace.spans.len() <= 512, "{}", trace.spans.len());
    assert_eq!(refused("spans_full"), before);
    assert_eq!(trace.spans[0].query.map(|labels| labels[0]), Some("async many"));
    let nested: Vec<_> = trace.spans.iter().filter(|span| span.name == "trace.async_nested").collect();
    assert!(nested.len() == 1 && nested[0].query.map(|labels| labels[0]) == Some("nested"), "{nested:?}");
    let long = trace.spans.iter().filter(|span| span.attributes == [("work", Value::Int(1_000_000))]);
    assert_eq!(long.count(), 8);
    drop(collector);
}

#[test]
fn a_span_says_what_its_error_says_if_that_is_wanted() {
    struct NoText;
    #[derive(Debug)]
    struct Panics;
    impl std::fmt::Display for Panics {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("as the test wants")
        }
    }
    #[query(name = "trace.told", key = key)]
    fn told(key: &str) -> Result<(), String> {
        let _ = without_text(NoText);
        let _ = panics();
        record("after", true);
        long()
    }
    #[stage(name = "trace.without_text")]
    fn without_text<E>(error: E) -> Result<(), E> {
        Err(error)
    }
    #[stage(name = "trace.panics_as_it_tells")]
    fn panics() -> Result<(), Panics> {
        Err(Panics)
    }
    #[stage(name = "trace.long")]
    fn long() -> Result<(), String> {
        Err(format!("no table {}", "ö".repeat(1_000)))
    }
    #[query(name = "trace.told_later", key = "told later")]
    async fn told_later() -> Result<(), Box<dyn std::error::Error>> {
        later().await?;
        Ok(())
    }
    #[stage(name = "trace.later")]
    async fn later() -> std::io::Result<()> {
        tokio::task::yield_now().await;
        Err(std::io::Error::other("disk full"))
    }
    let later = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(told_later()).unwrap_err();
    };
    let _alone = alone();
    let collector = collect(NONE);
    told("not wanted").unwrap_err();
    assert!(traces("not wanted")[0].spans.iter().all(|span| span.failed && span.error.is_none()));
    drop(collector);

    let collector = builder(NONE).error_texts(true).start().unwrap();
    told("wanted").unwrap_err();
    later();
    let errors = |statement: &str| {
        let trace = traces(statement).remove(0);
        let of = |span: &stagelight::Span| (span.name, span.error.clone().map(String::from));
        trace.spans.iter().map(of).collect::<Vec<_>>()
    };
    let long = format!("no table {}", "ö".repeat((240 - 9) / 2));
    assert_eq!(
        errors("wanted"),
        [
            ("trace.told", Some(long.clone())),
            ("trace.without_text", None),
            ("trace.panics_as_it_tells", Some("(its Display panicked)".into())),
            ("trace.long", Some(long)),
        ]
    );
    assert_eq!(traces("wanted")[0].spans[0].attributes, [("after", Value::Bool(true))]);
    let disk = Some("disk full".to_owned());
    assert_eq!(errors("told later"), [("trace.told_later", disk.clone()), ("trace.later", disk)]);
    let json = stagelight::export::json::traces([&*traces("told later")[0]]);
    assert_eq!(json[0]["spans"][1]["error"], "disk full");
    drop(collector);
}

#[test]
fn a_failure_among_a_flood_of_others_on_its_thread_is_kept() {
    const RARE: usize = 8;
    let _alone = alone();
    let collector = collect(NONE);
    for n in 0..RARE * 4_000 {
        let statement = if n % 4_000 == 3_999 { "rare failure" } else { ["flood a", "flood b"][n % 2] };
        execute(statement, 666).unwrap_err();
    }
    assert_eq!(traces("rare failure").len(), RARE);
    assert!(traces("flood a").len() > 100);
    drop(collector);
}
