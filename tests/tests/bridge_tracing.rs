//! Spans of `tracing` are stages, with exact counts, however they are entered and left.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Once;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use stagelight::bridge::tracing::StageLayer;
use stagelight::{LabelKind, LabelStats, StageStats, query, snapshot, stage};
use stagelight_tests::burn;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, error, error_span, info_span, instrument};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, filter};

/// The layer, for all threads of the process.
fn subscribed() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let stages = StageLayer::new()
            .statement_from("db.statement")
            .tenant_from("tenant")
            .user_from("user")
            .database_from("db.name");
        let wanted = filter::filter_fn(|metadata| !metadata.name().starts_with("unwanted"));
        let registry = tracing_subscriber::registry().with(stages.with_filter(wanted));
        tracing::subscriber::set_global_default(registry).unwrap();
    });
}

fn of(name: &str) -> StageStats {
    snapshot().stage(name).unwrap_or_else(|| panic!("{name} was not recorded")).clone()
}

fn calls(name: &str) -> u64 {
    snapshot().stage(name).map_or(0, |stage| stage.calls)
}

fn label(kind: LabelKind, value: &str) -> LabelStats {
    let snapshot = snapshot();
    let found = snapshot.by_label(kind).iter().find(|stats| stats.value == value);
    found.unwrap_or_else(|| panic!("{value} was not recorded")).clone()
}

fn current() -> (u32, u32) {
    stagelight::__private::current()
}

/// What the calling thread is labelled with.
fn labels() -> [&'static str; 4] {
    LabelKind::ALL.map(|kind| stagelight::__private::label_set(current().1).get(kind))
}

/// The name of the stage that the calling thread is in.
fn innermost() -> &'static str {
    stagelight::__private::stage_by_id(current().0).1
}

/// Pending for so many polls.
struct Turns(u32);

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0 {
            0 => Poll::Ready(()),
            _ => {
                self.0 -= 1;
                Poll::Pending
            }
        }
    }
}

#[test]
fn nested_spans_part_their_time() {
    subscribed();
    #[instrument]
    fn time_outer() {
        burn(1_000_000);
        time_inner();
        time_staged();
    }
    #[instrument]
    fn time_inner() {
        burn(3_000_000);
    }
    #[stage]
    fn time_staged() {
        burn(2_000_000);
        info_span!("time_innermost").in_scope(|| burn(1_000_000));
    }
    for _ in 0..3 {
        time_outer();
    }
    let [outer, inner, staged, innermost] =
        ["time_outer", "time_inner", "time_staged", "time_innermost"].map(of);
    assert_eq!([&outer, &inner, &staged, &innermost].map(|stage| stage.calls), [3; 4]);
    assert_eq!((outer.polls, outer.awaiting_ns, outer.cancelled, outer.errors), (3, 0, 0, 0));
    assert_eq!((outer.component, outer.file), (module_path!(), file!()));
    assert_eq!(outer.total_ns, outer.self_ns + inner.total_ns + staged.total_ns);
    assert_eq!((inner.total_ns, staged.total_ns), (inner.self_ns, staged.self_ns + innermost.total_ns));
    assert!(inner.total_ns >= 9_000_000 && outer.self_ns >= 3_000_000);
    assert_eq!(outer.histogram.count(), 3);
    assert_eq!(current(), (0, 0));
}

#[test]
fn a_span_that_moves_between_threads_is_one_call() {
    subscribed();
    const POLLS: u32 = 8;
    let work = async {
        for _ in 0..POLLS - 1 {
            assert_eq!((innermost(), labels()), ("moves.task", ["moves", "", "", ""]));
            burn(500_000);
            info_span!("moves.step").in_scope(|| burn(500_000));
            Turns(1).await;
        }
    };
    let mut task = Box::pin(work.instrument(info_span!("moves.task", db.statement = "moves")));
    for poll in 1..=POLLS {
        // Each poll is on another thread.
        task = std::thread::spawn(move || {
            let done = task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
            assert_eq!((done, current()), (poll == POLLS, (0, 0)));
            task
        })
        .join()
        .unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(calls("moves.task"), 0, "it is open");
    drop(task);
    let (task, step) = (of("moves.task"), of("moves.step"));
    // An instrumented future enters its span to be dropped.
    assert_eq!((task.calls, task.polls, step.calls), (1, u64::from(POLLS) + 1, u64::from(POLLS) - 1));
    assert!(task.awaiting_ns >= 8_000_000, "{}", task.awaiting_ns);
    let parts = task.awaiting_ns + task.self_ns + step.total_ns;
    assert!(task.total_ns.abs_diff(parts) < 1_000, "{} {parts}", task.total_ns);
    let query = label(LabelKind::Statement, "moves");
    assert_eq!((query.calls, query.stages, query.total_ns), (1, 8, task.total_ns));
}

#[test]
fn tasks_of_a_runtime_are_counted_one_by_one() {
    subscribed();
    const TASKS: u64 = 200;
    #[instrument(fields(tenant = %format_args!("runtime {}", n % 4)))]
    async fn runtime_task(n: u64) {
        for _ in 0..3 {
            assert_eq!(labels()[1], format!("runtime {}", n % 4));
            runtime_part().await;
            tokio::task::yield_now().await;
        }
    }
    #[stage]
    async fn runtime_part() {
        tokio::task::yield_now().await;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS).map(|n| tokio::spawn(runtime_task(n))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let (task, part) = (of("runtime_task"), of("runtime_part"));
    // Three times two yields, the last poll, and the drop.
    assert_eq!((task.calls, task.polls), (TASKS, TASKS * 8));
    assert_eq!((part.calls, part.polls), (TASKS * 3, TASKS * 6));
    for tenant in ["runtime 0", "runtime 1", "runtime 2", "runtime 3"] {
        let tenant = label(LabelKind::Tenant, tenant);
        assert_eq!((tenant.calls, tenant.stages), (TASKS / 4, TASKS / 4 * (1 + 3)));
    }
}

#[test]
fn fields_are_labels() {
    subscribed();
    let request = info_span!("labels.request", tenant = 7_u64, user = ?Some("ann"), other = "x");
    request.in_scope(|| {
        assert_eq!(labels(), ["", "7", "Some(\"ann\")", ""]);
        // What it doesn't say it has from the query around it.
        let statement = info_span!("labels.statement", db.statement = "select ?", db.name = %"main");
        statement.in_scope(|| {
            assert_eq!(labels(), ["select ?", "7", "Some(\"ann\")", "main"]);
            stagelight::rows(5);
            // No field of ours: a stage of the query.
            info_span!("labels.stage", other = 1).in_scope(|| burn(100_000));
        });
        assert_eq!(labels(), ["", "7", "Some(\"ann\")", ""]);
    });
    // By its parent, though it is created elsewhere; and none at a root.
    let child =
        info_span!(parent: &info_span!(parent: &request, "labels.between"), "labels.child", db.name = "b");
    child.in_scope(|| assert_eq!(labels(), ["", "7", "Some(\"ann\")", "b"]));
    request.in_scope(|| {
        info_span!(parent: None, "labels.root", db.name = "c")
            .in_scope(|| assert_eq!(labels(), ["", "", "", "c"]));
    });
    drop((child, request));
    assert_eq!(labels(), [""; 4]);
    let statement = label(LabelKind::Statement, "select ?");
    assert_eq!((statement.calls, statement.stages, statement.rows), (1, 2, 5));
    assert_eq!(label(LabelKind::Tenant, "7").calls, 3);
    let request = of("labels.request");
    assert_eq!((request.calls, request.polls, calls("labels.between")), (1, 2, 0));
}

#[test]
fn a_label_may_come_while_the_span_is_on() {
    subscribed();
    #[instrument(fields(tenant = Empty))]
    fn late_request() {
        assert_eq!(labels()[1], "");
        Span::current().record("tenant", "late");
        assert_eq!(labels()[1], "late");
        let outer = Span::current();
        info_span!("late.statement", db.statement = "late").in_scope(|| {
            outer.record("tenant", "later");
            assert_eq!(labels(), ["late", "late", "", ""], "the inner query has its own");
        });
        assert_eq!(labels()[1], "later");
    }
    late_request();
    assert_eq!(labels(), [""; 4]);
    assert_eq!(label(LabelKind::Tenant, "later").calls, 1);
    assert_eq!(label(LabelKind::Tenant, "late").calls, 1);
}

#[test]
fn errors_are_what_says_so() {
    subscribed();
    let failing = || error_span!("errors.span", error = Empty, otel.status_code = Empty);
    let ends: [&dyn Fn(&Span); 7] = [
        &|_| {},
        &|span| {
            span.record("error", "broken");
        },
        &|span| {
            span.record("error", false);
        },
        &|span| {
            span.record("error", true);
        },
        &|span| {
            span.record("otel.status_code", "OK");
        },
        &|span| {
            span.record("otel.status_code", "ERROR");
        },
        &|_| error!("an event that has no such field"),
    ];
    for end in ends {
        let span = failing();
        span.in_scope(|| end(&span));
    }
    let span = of("errors.span");
    assert_eq!((span.calls, span.errors), (7, 3));

    #[instrument(err, fields(tenant = "errors"))]
    fn errors_function(fail: bool) -> Result<(), String> {
        if fail { Err("as the test wants".into()) } else { Ok(()) }
    }
    assert!(errors_function(true).is_err() && errors_function(false).is_ok());
    let (function, tenant) = (of("errors_function"), label(LabelKind::Tenant, "errors"));
    assert_eq!((function.calls, function.errors, tenant.calls, tenant.errors), (2, 1, 2, 1));

    #[instrument]
    fn errors_panic() {
        panic!("as the test wants");
    }
    assert!(std::panic::catch_unwind(errors_panic).is_err());
    assert_eq!((of("errors_panic").panics, current()), (1, (0, 0)));
}

#[test]
fn spans_that_never_close_leave_the_thread_sound() {
    subscribed();
    let open = info_span!("open.kept", tenant = "open");
    open.in_scope(|| ());
    std::mem::forget(open);
    drop(info_span!("open.never_entered"));
    assert_eq!((calls("open.kept"), calls("open.never_entered"), current()), (0, 0, (0, 0)));
    // One whose guard is forgotten ends when it is closed.
    let span = info_span!("open.guard", tenant = "guard");
    std::mem::forget(span.enter());
    assert_eq!((innermost(), labels()[1]), ("open.guard", "guard"));
    drop(span);
    assert_eq!((calls("open.guard"), current()), (1, (0, 0)));
}

#[test]
fn spans_may_be_left_in_any_order() {
    subscribed();
    let (a, b, c) = (info_span!("order.a", tenant = "order a"), info_span!("order.b"), info_span!("order.c"));
    let d = info_span!("order.d", tenant = "order d");
    let (on_a, on_b, on_c, on_d) = (a.enter(), b.enter(), c.enter(), d.enter());
    burn(1_000_000);
    stagelight::rows(1);
    drop(on_b);
    assert_eq!((innermost(), labels()[1]), ("order.d", "order d"));
    burn(1_000_000);
    drop(on_a);
    assert_eq!((innermost(), labels()[1]), ("order.d", "order d"));
    stagelight::rows(1);
    drop(on_d);
    assert_eq!((innermost(), labels()[1]), ("order.c", ""));
    burn(1_000_000);
    drop(on_c);
    assert_eq!(current(), (0, 0));
    drop((a, b, c, d));
    let [a, b, c, d] = ["order.a", "order.b", "order.c", "order.d"].map(of);
    assert_eq!([&a, &b, &c, &d].map(|stage| (stage.calls, stage.polls)), [(1, 1); 4]);
    // Each in its own time, and all the time but the last millisecond in the innermost.
    assert!(d.self_ns >= 2_000_000 && b.total_ns >= 1_000_000 && c.total_ns >= 3_000_000);
    assert!((1_000_000..c.total_ns - 1_900_000).contains(&c.self_ns), "{}", c.self_ns);
    assert!(a.self_ns + b.self_ns < 1_000_000, "{} {}", a.self_ns, b.self_ns);
    let [a, d] = ["order a", "order d"].map(|tenant| label(LabelKind::Tenant, tenant));
    assert_eq!((a.calls, a.stages, a.rows), (1, 3, 0));
    assert_eq!((d.calls, d.stages, d.rows), (1, 1, 2));
}

#[test]
fn a_span_is_in_itself_once() {
    subscribed();
    let span = info_span!("again.span");
    span.in_scope(|| {
        span.in_scope(|| burn(1_000_000));
        assert_eq!(innermost(), "again.span");
    });
    // By two threads at once it is entered twice, as one call.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| span.in_scope(|| burn(1_000_000)));
        }
    });
    drop(span);
    let span = of("again.span");
    assert_eq!((span.calls, span.polls), (1, 3));
    assert!(span.self_ns >= 3_000_000 && span.total_ns >= span.self_ns);
}

#[test]
fn spans_and_stages_that_cross_leave_the_thread_sound() {
    subscribed();
    #[stage(name = "cross.stage")]
    fn within(span: &Span) -> tracing::span::Entered<'_> {
        span.enter()
    }
    #[query(name = "cross.query", tenant = "crossed")]
    fn leaves(on: tracing::span::Entered<'_>) {
        drop(on);
        assert_eq!((innermost(), labels()[1]), ("cross.query", "crossed"));
    }
    // Left after the stage that it was entered in.
    let span = info_span!("cross.span", user = "cross");
    let on = within(&span);
    drop(on);
    assert_eq!(current(), (0, 0));
    // Left before a stage that was entered in it: it goes when a span is next entered.
    let on = span.enter();
    leaves(on);
    info_span!("cross.next").in_scope(|| assert_eq!(innermost(), "cross.next"));
    assert_eq!(current(), (0, 0));
    drop(span);
    let span = of("cross.span");
    assert_eq!((span.calls, span.polls, of("cross.stage").calls, of("cross.query").calls), (1, 2, 1, 1));
}

#[test]
fn what_is_filtered_or_off_is_not_recorded() {
    subscribed();
    let unwanted = || info_span!("unwanted.span", tenant = "unwanted");
    unwanted().in_scope(|| info_span!("off.span").in_scope(|| assert_eq!(labels(), [""; 4])));
    stagelight::set_mode("off.span", stagelight::Mode::Off);
    info_span!("off.span").in_scope(|| assert_eq!(current(), (0, 0)));
    assert_eq!((calls("unwanted.span"), calls("off.span")), (0, 1), "at least the first time");
    // Two layers on two registries, on one thread: spans may have the same number.
    let other = tracing_subscriber::registry().with(StageLayer::new());
    let outer = info_span!("two.outer");
    outer.in_scope(|| {
        tracing::subscriber::with_default(other, || {
            info_span!("two.inner").in_scope(|| assert_eq!(innermost(), "two.inner"));
        });
        assert_eq!(innermost(), "two.outer");
    });
    drop(outer);
    assert_eq!((calls("two.outer"), calls("two.inner")), (1, 1));
    let mut pending = pin!(Turns(0).instrument(info_span!("off.ready")));
    assert!(pending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn spans_are_not_in_traces() {
    subscribed();
    let traces = stagelight::TraceSettings { head: 1.0, slow: None };
    let collector = stagelight::collector()
        .every(Duration::from_millis(20))
        .budget(None)
        .traces(Some(traces))
        .start()
        .unwrap();
    #[query(name = "traced.query", key = "traced")]
    fn traced() {
        info_span!("traced.span", db.statement = "traced span").in_scope(leaf);
        leaf();
    }
    #[stage(name = "traced.leaf")]
    fn leaf() {}
    info_span!("traced.root", db.statement = "traced root").in_scope(leaf);
    traced();
    std::thread::sleep(Duration::from_millis(100));
    let traces = stagelight::recent_traces();
    let of = |statement: &str| traces.iter().find(|trace| trace.labels[0] == statement);
    let spans: Vec<_> = of("traced").unwrap().spans.iter().map(|span| span.name).collect();
    assert_eq!(spans, ["traced.query", "traced.leaf", "traced.leaf"]);
    assert!(of("traced root").is_none() && of("traced span").is_none());
    drop(collector);
}
