//! What must hold when a program does what it hardly should: panics, recursion, the end of a thread, other clocks.

use std::cell::RefCell;
use std::future::Future;
use std::hint::black_box;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Waker};

use stagelight::{StageStats, query, snapshot, stage, stage_block};
use stagelight_tests::{burn, child, is_child, succeed};

/// Tests that look at what was refused run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of(stage: &str) -> StageStats {
    snapshot().stage(stage).unwrap_or_else(|| panic!("{stage} was not recorded")).clone()
}

fn calls(stage: &str) -> u64 {
    snapshot().stage(stage).map_or(0, |stage| stage.calls)
}

fn refused(cause: &str) -> u64 {
    let refused = snapshot().recorder.refused;
    refused.into_iter().find(|(known, _)| *known == cause).map_or(0, |(_, count)| count)
}

/// The stage and the tenant that the calling thread is in.
fn current() -> (&'static str, &'static str) {
    let (stage, labels) = stagelight::__private::current();
    let labels = stagelight::__private::label_set(labels);
    (stagelight::__private::stage_by_id(stage).1, labels.get(stagelight::LabelKind::Tenant))
}

/// Runs on a thread of its own, and to that thread's very end.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

#[test]
fn a_panic_through_nested_stages_is_counted_in_each_and_leaves_the_thread_sound() {
    #[query(name = "panics.query", key = "panics", tenant = "panics")]
    fn root(depth: u32) {
        level(depth);
    }
    #[stage(name = "panics.level")]
    fn level(depth: u32) {
        let _cleaner = Cleaner;
        stage_block!("panics.block", {
            assert!(depth > 0, "as the test wants");
            level(depth - 1);
        });
    }
    /// Does its work whether there is a panic or not.
    struct Cleaner;
    impl Drop for Cleaner {
        fn drop(&mut self) {
            cleanup();
        }
    }
    #[stage(name = "panics.cleanup")]
    fn cleanup() {}
    #[stage(name = "panics.catcher")]
    fn catcher() {
        assert!(catch_unwind(|| root(9)).is_err());
        assert_eq!(current(), ("panics.catcher", ""));
    }

    on_a_thread(|| {
        for _ in 0..3 {
            catcher();
        }
        assert_eq!(stagelight::__private::current(), (0, 0));
    });
    let figures = |name: &str| {
        let stage = of(name);
        assert_eq!(stage.histogram.count(), stage.calls);
        (stage.calls, stage.panics, stage.errors)
    };
    assert_eq!(figures("panics.query"), (3, 3, 0));
    assert_eq!((figures("panics.level"), figures("panics.block")), ((30, 30, 0), (30, 30, 0)));
    // The panic did not end these: they ran to their end while it unwound the others.
    assert_eq!((figures("panics.cleanup"), figures("panics.catcher")), ((30, 0, 0), (3, 0, 0)));
    let statements = snapshot().statements;
    let statement = statements.iter().find(|statement| statement.value == "panics").unwrap();
    assert_eq!((statement.calls, statement.stages), (3, 3 * 31));
    // All time is somebody's own.
    let names = ["panics.query", "panics.level", "panics.block", "panics.cleanup", "panics.catcher"];
    let own: u64 = names.into_iter().map(|name| of(name).self_ns).sum();
    assert_eq!(of("panics.catcher").total_ns, own);
}

#[test]
fn recursion_deeper_than_the_path_is_counted_in_full() {
    const DEEP: u64 = 1_000;
    #[query(name = "deep.query", key = "deep", tenant = "deep")]
    fn root() {
        even(DEEP);
    }
    #[stage(name = "deep.even")]
    fn even(depth: u64) {
        check(DEEP - depth + 2);
        if depth > 1 {
            odd(depth - 1);
        }
        check(DEEP - depth + 2);
    }
    #[stage(name = "deep.odd")]
    fn odd(depth: u64) {
        check(DEEP - depth + 2);
        if depth > 1 {
            even(depth - 1);
        }
        check(DEEP - depth + 2);
    }
    /// Samplers see the innermost stage, or the last one that the path has room for: the 64th, which is even.
    fn check(depth: u64) {
        let stage = if depth.min(64).is_multiple_of(2) { "deep.even" } else { "deep.odd" };
        assert_eq!(current(), (stage, "deep"), "at {depth}");
    }

    on_a_thread(|| {
        root();
        assert_eq!(stagelight::__private::current(), (0, 0));
        assert!(stagelight::active().iter().all(|active| active.labels[1] != "deep"));
        root();
    });
    let (root, even, odd) = (of("deep.query"), of("deep.even"), of("deep.odd"));
    assert_eq!((root.calls, even.calls, odd.calls), (2, DEEP, DEEP));
    assert_eq!(root.total_ns, root.self_ns + even.self_ns + odd.self_ns);
    let statements = snapshot().statements;
    let statement = statements.iter().find(|statement| statement.value == "deep").unwrap();
    assert_eq!((statement.calls, statement.stages), (2, 2 * (DEEP + 1)));
}

/// Runs when its thread ends, at the place that it has among the thread's locals.
struct AtExit<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtExit<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

type Job = Option<AtExit<Box<dyn FnMut()>>>;

thread_local! {
    static JOB: RefCell<Job> = const { RefCell::new(None) };
}

/// Whether the thread's local of the test or its first stage comes first.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    LocalFirst,
    StageFirst,
    LocalAlone,
}

/// The calls and refusals of a stage that is entered by a thread-local's destructor.
fn at_exit(order: Order, stage: &'static str, enter: fn()) -> (u64, u64) {
    #[stage(name = "exit.first")]
    fn first() {}
    let before = (calls(stage), refused("thread_exit"));
    on_a_thread(move || {
        if order == Order::StageFirst {
            first();
        }
        let job: Box<dyn FnMut()> = Box::new(enter);
        JOB.with(|place| *place.borrow_mut() = Some(AtExit(job)));
        if order == Order::LocalFirst {
            first();
        }
    });
    (calls(stage) - before.0, refused("thread_exit") - before.1)
}

#[test]
fn a_stage_in_a_thread_locals_destructor_is_counted_or_refused() {
    #[stage(name = "exit.stage")]
    fn stage() {}
    #[query(name = "exit.query", key = "exit")]
    fn query() {
        stage();
        stagelight::rows(3);
    }
    #[stage(name = "exit.async")]
    async fn asynchronous() {}
    fn poll() {
        let _ = Box::pin(asynchronous()).as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    let _alone = alone();
    for order in [Order::LocalFirst, Order::StageFirst, Order::LocalAlone] {
        let (counted, missed) = at_exit(order, "exit.stage", stage);
        assert_eq!(counted + missed, 1);
        let (counted, missed) = at_exit(order, "exit.query", query);
        assert_eq!((counted == 1, missed > 0), (counted == 1, counted == 0));
        let (counted, missed) = at_exit(order, "exit.async", poll);
        assert_eq!((counted == 1, missed > 0), (counted == 1, counted == 0));
    }
    if cfg!(target_os = "linux") {
        // The last that was touched is destroyed first: the block is there, is gone, is there for the first time.
        assert_eq!(at_exit(Order::StageFirst, "exit.stage", stage), (1, 0));
        assert_eq!(at_exit(Order::LocalFirst, "exit.stage", stage), (0, 1));
        assert_eq!(at_exit(Order::LocalAlone, "exit.stage", stage), (1, 0));
    }
    assert!(stagelight::active().iter().all(|active| active.path != ["exit.stage"]), "nobody is left in it");
}

/// Enters something, and stays in it.
type Held = Pin<Box<dyn Future<Output = ()>>>;

#[stage(name = "outlive.async")]
async fn held_stage() {
    stage_block!("outlive.inner", { std::future::pending::<()>().await });
}

#[query(name = "outlive.query", key = "outlive", tenant = "outlive")]
async fn held_query() {
    std::future::pending::<()>().await;
}

fn held() -> [Held; 4] {
    [
        // What a guard in a future does that is suspended.
        Box::pin(async { stage_block!("outlive.block", { std::future::pending::<()>().await }) }),
        Box::pin(held_stage()),
        Box::pin(held_query()),
        Box::pin(async {
            let _attached = stagelight::QueryContext::current().attach();
            std::future::pending::<()>().await;
        }),
    ]
}

#[test]
fn a_guard_that_outlives_its_threads_block_leaves_the_next_owner_alone() {
    #[query(name = "outlive.owner", key = "owner", tenant = "owner")]
    fn owner(while_within: impl FnOnce()) {
        assert_eq!(current(), ("outlive.owner", "owner"));
        while_within();
        assert_eq!(current(), ("outlive.owner", "owner"));
        let active: Vec<_> = stagelight::active().into_iter().map(|active| active.path).collect();
        assert_eq!(active, [["outlive.owner"]]);
    }
    if !is_child() {
        // With only one block in the process it is known who gets it.
        let test = "a_guard_that_outlives_its_threads_block_leaves_the_next_owner_alone";
        succeed(&mut child(test));
        return;
    }
    for kind in 0..4 {
        let (given_back, wait_given_back) = mpsc::channel();
        let (taken, wait_taken) = mpsc::channel();
        let (dropped, wait_dropped) = mpsc::channel();
        let leaving = std::thread::spawn(move || {
            // Touched before the thread's first stage, so destroyed after the thread gave its block back.
            JOB.with(|_| ());
            let mut future = held().into_iter().nth(kind);
            let polled = future.as_mut().unwrap().as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            let job = move || {
                given_back.send(()).unwrap();
                wait_taken.recv().unwrap();
                drop(future.take());
                dropped.send(()).unwrap();
            };
            JOB.with(|place| *place.borrow_mut() = Some(AtExit(Box::new(job))));
        });
        on_a_thread(move || {
            wait_given_back.recv().unwrap();
            owner(|| {
                assert_eq!(snapshot().recorder.blocks, 1, "it is the block that the other thread had");
                taken.send(()).unwrap();
                wait_dropped.recv().unwrap();
            });
            assert_eq!(stagelight::__private::current(), (0, 0));
        });
        leaving.join().unwrap();
        let (owner, lost) = (of("outlive.owner"), refused("thread_exit"));
        assert_eq!((owner.calls, owner.panics), (kind as u64 + 1, 0));
        // The stages that were cut off are not counted, but it is counted that they were not.
        assert_eq!(lost, [1, 3, 4, 4][kind]);
    }
    assert_eq!((calls("outlive.block"), calls("outlive.async"), calls("outlive.query")), (0, 0, 0));
}

#[test]
fn the_systems_clock_serves_where_the_counter_is_distrusted() {
    #[stage(name = "clock.outer")]
    fn outer() {
        std::thread::sleep(std::time::Duration::from_millis(5));
        inner();
    }
    #[stage(name = "clock.inner")]
    fn inner() {
        burn(1_000_000);
    }
    if !is_child() {
        for clock in ["system", "auto", "tsc", "sundial"] {
            let test = "the_systems_clock_serves_where_the_counter_is_distrusted";
            succeed(child(test).env("STAGELIGHT_CLOCK", clock));
        }
        return;
    }
    let start = std::time::Instant::now();
    (0..10).for_each(|_| outer());
    let elapsed = start.elapsed().as_nanos() as f64;
    let snapshot = snapshot();
    let wish = std::env::var("STAGELIGHT_CLOCK").unwrap();
    if wish == "system" || cfg!(not(target_arch = "x86_64")) {
        assert_eq!(snapshot.recorder.clock, "system");
    } else if wish == "tsc" {
        assert_eq!(snapshot.recorder.clock, "tsc");
    }
    let (outer, inner) = (snapshot.stage("clock.outer").unwrap(), snapshot.stage("clock.inner").unwrap());
    assert_eq!(outer.total_ns, outer.self_ns + inner.total_ns);
    // The sleeps last as long as they should at least, and all of it no longer than the whole, but for the calibration.
    let sane = 50e6 * 0.98..=elapsed * 1.02;
    assert!(sane.contains(&(outer.total_ns as f64)), "{} in {sane:?} by {wish}", outer.total_ns);
    assert!(inner.total_ns as f64 >= 10e6 * 0.98, "{}", inner.total_ns);
    assert!(outer.histogram.quantile(0.5) <= outer.histogram.max());
}

#[test]
fn what_exporters_see_never_goes_back() {
    #[stage(name = "reliability.onward")]
    fn onward(value: u64) -> u64 {
        black_box(value)
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    black_box(onward(1));
                }
            });
        }
        let mut before = vec![0; 50];
        while before[49] < 1_000_000 {
            let snapshot = snapshot();
            let Some(stage) = snapshot.stage("reliability.onward") else { continue };
            let mut now: Vec<u64> = (0..48).map(|power| stage.histogram.count_below_power(power)).collect();
            now.extend([stage.histogram.weight(), stage.calls]);
            let back: Vec<usize> = (0..50).filter(|&index| now[index] < before[index]).collect();
            assert!(back.is_empty(), "{back:?} of {before:?} and {now:?}");
            before = now;
        }
        stop.store(true, Ordering::Relaxed);
    });
}
