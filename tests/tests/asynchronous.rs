//! Async stages and queries, on a real runtime that moves them between threads.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use stagelight::{InQuery as _, QueryContext, StageStats, query, snapshot, stage};
use stagelight_tests::burn;
use tokio::time::sleep;

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(future)
}

fn of(name: &str) -> StageStats {
    snapshot().stage(name).unwrap_or_else(|| panic!("{name} was not recorded")).clone()
}

/// The tenant that the calling thread is labelled with.
fn tenant() -> &'static str {
    stagelight::__private::label_set(stagelight::__private::current().1).get(stagelight::LabelKind::Tenant)
}

#[test]
fn busy_and_awaiting_time_and_polls_are_three_figures() {
    #[stage(name = "three.outer")]
    async fn outer() {
        burn(2_000_000);
        inner().await;
        tokio::task::yield_now().await;
        sleep(Duration::from_millis(20)).await;
        burn(2_000_000);
    }
    #[stage(name = "three.inner")]
    async fn inner() {
        burn(5_000_000);
        tokio::task::yield_now().await;
        burn(5_000_000);
    }
    run(outer());
    let (outer, inner) = (of("three.outer"), of("three.inner"));
    assert_eq!((outer.calls, inner.calls), (1, 1));
    assert!(outer.polls >= 3 && inner.polls >= 2, "{} {}", outer.polls, inner.polls);
    // On a busy machine a part of the sleep may pass before it is polled first.
    let slept = outer.awaiting_ns + outer.self_ns - 4_000_000;
    assert!(outer.awaiting_ns > 0 && slept >= 19_000_000, "{} {slept}", outer.awaiting_ns);
    // All of the time is awaited, spent in the stage itself or busy in its child.
    let inner_busy = inner.total_ns - inner.awaiting_ns;
    let parts = outer.awaiting_ns + outer.self_ns + inner_busy;
    assert!(outer.total_ns.abs_diff(parts) < 1_000, "{} {parts}", outer.total_ns);
    assert!(inner_busy >= 10_000_000 && outer.self_ns < outer.total_ns - inner_busy);
}

#[test]
fn labels_are_on_the_thread_during_polls_alone() {
    #[query(name = "labels.query", key = "labels", tenant = tenant_of)]
    async fn labelled(tenant_of: &str, other: impl Future<Output = ()>) {
        for _ in 0..3 {
            assert_eq!(tenant(), tenant_of);
            tokio::task::yield_now().await;
        }
        other.await;
        assert_eq!(tenant(), tenant_of);
    }
    async fn unlabelled() {
        for _ in 0..5 {
            assert_eq!(tenant(), "");
            tokio::task::yield_now().await;
        }
    }
    run(async {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                tokio::spawn(async move {
                    let name = format!("tenant {}", n % 4);
                    // A query within a query replaces its labels, and gives them back.
                    labelled(&name, labelled("nested", async {})).await;
                })
            })
            .chain((0..20).map(|_| tokio::spawn(unlabelled())))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let tenants = snapshot().tenants;
    let calls = |name: &str| tenants.iter().find(|tenant| tenant.value == name).map(|tenant| tenant.calls);
    assert_eq!((calls("tenant 0"), calls("tenant 3"), calls("nested")), (Some(5), Some(5), Some(20)));
}

#[test]
fn a_future_that_is_dropped_counts_as_cancelled_and_one_that_panics_as_panicked() {
    #[stage(name = "ends.cancelled")]
    async fn cancelled() {
        within().await;
    }
    #[stage(name = "ends.within")]
    async fn within() {
        sleep(Duration::from_secs(600)).await;
    }
    #[stage(name = "ends.panicked")]
    async fn panicked() {
        tokio::task::yield_now().await;
        panic!("as the test wants");
    }
    #[stage(name = "ends.never_polled")]
    async fn never_polled() {}

    run(async {
        let before = stagelight::__private::current();
        assert!(tokio::time::timeout(Duration::from_millis(10), cancelled()).await.is_err());
        drop(never_polled());
        assert!(tokio::spawn(panicked()).await.unwrap_err().is_panic());
        assert_eq!(stagelight::__private::current(), before);
    });
    let ends = |name: &str| {
        let stage = of(name);
        (stage.calls, stage.cancelled, stage.panics, stage.errors)
    };
    assert_eq!((ends("ends.cancelled"), ends("ends.within")), ((1, 1, 0, 0), (1, 1, 0, 0)));
    assert_eq!(ends("ends.panicked"), (1, 0, 1, 0));
    assert!(snapshot().stage("ends.never_polled").is_none());
}

#[test]
fn a_query_is_carried_to_tasks_and_threads() {
    #[stage(name = "carry.work")]
    fn work() -> &'static str {
        tenant()
    }
    #[query(name = "carry.query", key = "carry", tenant = "carried")]
    async fn fan_out() -> Vec<&'static str> {
        let query = QueryContext::current();
        let task = tokio::spawn(async { work() }.in_query(query));
        let blocking = tokio::task::spawn_blocking(query.wrap(work));
        let thread = std::thread::spawn(query.wrap(work));
        let plain = std::thread::spawn(work);
        vec![
            task.await.unwrap(),
            blocking.await.unwrap(),
            thread.join().unwrap(),
            plain.join().unwrap(),
            work(),
        ]
    }
    assert_eq!(run(fan_out()), ["carried", "carried", "carried", "", "carried"]);
    assert_eq!(of("carry.work").calls, 5);
}

#[test]
fn async_traits_and_boxed_futures_are_stages() {
    #[async_trait::async_trait]
    trait Store {
        async fn get(&self, key: u32) -> Result<u32, String>;
    }
    struct Memory;
    #[async_trait::async_trait]
    impl Store for Memory {
        #[stage(name = "boxed.get")]
        async fn get(&self, key: u32) -> Result<u32, String> {
            tokio::task::yield_now().await;
            if key == 0 { Err("none".into()) } else { Ok(key) }
        }
    }
    #[stage(name = "boxed.plain")]
    fn plain() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        Box::pin(async { Err("always".into()) })
    }
    let store: Box<dyn Store + Send + Sync> = Box::new(Memory);
    run(async {
        assert!(store.get(0).await.is_err());
        assert_eq!(store.get(7).await, Ok(7));
        assert!(plain().await.is_err());
    });
    let (get, plain) = (of("boxed.get"), of("boxed.plain"));
    assert_eq!((get.calls, get.errors, plain.calls, plain.errors), (2, 1, 1, 1));
    assert!(get.polls >= 4);
}

#[test]
fn a_future_grows_by_no_more_than_a_cache_line() {
    async fn plain() {
        let kept = [0_u8; 100];
        tokio::task::yield_now().await;
        std::hint::black_box(kept);
    }
    #[stage(name = "size.staged")]
    async fn staged() {
        let kept = [0_u8; 100];
        tokio::task::yield_now().await;
        std::hint::black_box(kept);
    }
    let grown = size_of_val(&staged()) - size_of_val(&plain());
    assert!(grown <= 64, "a stage adds {grown} bytes to its future");
}
