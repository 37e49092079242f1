//! What the collector does beside collecting: the governor and the active history.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stagelight::{Mode, ThreadState, query, set_mode, snapshot, stage};
use stagelight_tests::burn;

/// There is one governor and one history.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "it did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[query(name = "governed.frequent", key = "frequent")]
fn frequent() {
    tiny();
    tiny();
}

#[stage(name = "governed.tiny")]
fn tiny() {
    std::hint::black_box(0);
}

#[query(name = "governed.rare", key = "rare")]
fn rare() {
    burn(500_000);
}

#[test]
fn the_governor_times_fewer_of_the_frequent_and_all_of_the_rare() {
    let _alone = alone();
    let collector =
        stagelight::collector().every(Duration::from_millis(50)).active_history(None).start().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                rare();
                for _ in 0..5_000 {
                    frequent();
                }
            }
        });
        wait_for(|| stagelight::governor().throttled > 0);
        // Three windows later all that is due has come.
        std::thread::sleep(Duration::from_millis(150));
        let before = snapshot();
        std::thread::sleep(Duration::from_millis(500));
        let after = snapshot();
        stop.store(true, Ordering::Relaxed);
        let timed_share = |name: &str| {
            let (before, after) = (before.stage(name).unwrap(), after.stage(name).unwrap());
            (after.timed - before.timed) as f64 / (after.calls - before.calls) as f64
        };
        assert!(timed_share("governed.tiny") < 0.5, "{}", timed_share("governed.tiny"));
        assert_eq!(timed_share("governed.rare"), 1.0);
        let governor = stagelight::governor();
        assert_eq!(governor.budget, 0.03);
    });
    let snapshot = snapshot();
    let (tiny, frequent) =
        (snapshot.stage("governed.tiny").unwrap(), snapshot.stage("governed.frequent").unwrap());
    assert_eq!(tiny.calls, 2 * frequent.calls, "every call is counted");
    assert_eq!(tiny.histogram.count(), tiny.calls);
    let statement = snapshot.statements.iter().find(|statement| statement.value == "frequent").unwrap();
    assert_eq!(statement.calls, frequent.calls);
    let each = statement.stages as f64 / statement.calls as f64;
    assert!((each / 3.0 - 1.0).abs() < 0.2, "{each} stages a query, of 3");
    drop(collector);
    assert_eq!(stagelight::governor().budget, 0.0);
}

#[test]
fn modes_are_set_by_pattern_and_hold_for_stages_to_come() {
    #[stage(name = "mode.here", component = "modes")]
    fn here() {}
    #[stage(name = "mode.later", component = "modes")]
    fn later() {}
    let _alone = alone();
    here();
    assert_eq!(set_mode("modes::*", Mode::Off), 1);
    here();
    later();
    assert_eq!(set_mode("mode.later", Mode::Count), 1);
    later();
    let snapshot = snapshot();
    let figures = |name: &str| snapshot.stage(name).map(|stage| (stage.calls, stage.timed, stage.mode));
    assert_eq!(figures("mode.here"), Some((1, 1, Mode::Off)));
    assert_eq!(figures("mode.later"), Some((1, 0, Mode::Count)));
    set_mode("*", Mode::Span);
    here();
    assert_eq!(stagelight::snapshot().stage("mode.here").map(|stage| stage.calls), Some(2));
}

#[test]
fn what_is_active_is_seen_with_its_path_its_labels_and_its_state() {
    #[query(name = "active.query", key = "active", tenant = "acme")]
    fn outer(work: impl FnOnce()) {
        inner(work);
    }
    #[stage(name = "active.inner")]
    fn inner(work: impl FnOnce()) {
        work();
    }
    let _alone = alone();
    let collector =
        stagelight::collector().active_history(Some((200, Duration::from_secs(60)))).start().unwrap();
    let stop = AtomicBool::new(false);
    let of_acme = || -> Vec<_> {
        stagelight::active().into_iter().filter(|active| active.labels[1] == "acme").collect()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            outer(|| {
                while !stop.load(Ordering::Relaxed) {
                    burn(100_000)
                }
            })
        });
        scope.spawn(|| {
            outer(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5))
                }
            })
        });
        wait_for(|| of_acme().len() == 2);
        std::thread::sleep(Duration::from_millis(400));
        for active in of_acme() {
            assert_eq!(active.path, ["active.query", "active.inner"]);
            assert_eq!(active.labels, ["active", "acme", "", ""]);
            assert!(active.running.unwrap() >= Duration::from_millis(300));
        }
        let (averages, looks) = stagelight::active_averages(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        assert!(looks > 5, "{looks} looks");
        let average = |state: ThreadState| -> f64 {
            let of =
                averages.iter().filter(|average| average.stage == "active.inner" && average.state == state);
            of.map(|average| average.average).sum()
        };
        if cfg!(target_os = "linux") {
            let on_core = average(ThreadState::Running) + average(ThreadState::Runnable);
            let asleep = average(ThreadState::Sleep);
            assert!((on_core + asleep - 2.0).abs() < 0.2 && on_core > 0.5 && asleep > 0.5, "{averages:?}");
        }
    });
    assert!(of_acme().is_empty());
    drop(collector);
    assert_eq!(stagelight::active_averages(Duration::from_secs(60)), (Vec::new(), 0));
}

#[test]
fn async_queries_that_wait_are_active_too() {
    #[query(name = "waits.query", key = "waits", tenant = "patient")]
    async fn waits() {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let _alone = alone();
    let collector =
        stagelight::collector().active_history(Some((200, Duration::from_secs(60)))).start().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let averages = runtime.block_on(async {
        let tasks: Vec<_> = (0..10).map(|_| tokio::spawn(waits())).collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (averages, _) = stagelight::active_averages(Duration::from_millis(100));
        for task in tasks {
            task.await.unwrap();
        }
        averages
    });
    let awaiting = averages.iter().find(|average| average.state == ThreadState::Awaiting).unwrap();
    assert_eq!(awaiting.labels[1], "patient");
    assert!((awaiting.average - 10.0).abs() < 0.5, "{awaiting:?}");
    drop(collector);
}

#[test]
fn a_collector_tells_when_it_is_late_and_what_it_uses() {
    const PERIOD: Duration = Duration::from_millis(20);
    let _alone = alone();
    let before = stagelight::collector_stats();
    let collector = stagelight::collector()
        .every(PERIOD)
        .on_window(|_| {
            // An exporter that waits for a network, and one that works.
            std::thread::sleep(3 * PERIOD);
            burn(500_000);
        })
        .start()
        .unwrap();
    wait_for(|| stagelight::collector_stats().looks >= before.looks + 3);
    drop(collector);
    let after = stagelight::collector_stats();
    assert!(after.overruns > before.overruns);
    // The look after the first window was due while its observer slept.
    assert!(after.late_max >= PERIOD && after.late_last <= after.late_max);
    assert!(!cfg!(unix) || after.cpu > before.cpu);

    let recorder = stagelight::export::json::recorder(&snapshot());
    assert_eq!(recorder["collector"]["overruns"], after.overruns);
    assert_eq!(recorder["collector"]["late_max_ns"], after.late_max.as_nanos() as u64);
    let mut text = Vec::new();
    stagelight::export::prometheus::write(&snapshot(), Vec::new(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    for metric in ["looks_total", "overruns_total", "late_seconds", "late_max_seconds", "cpu_seconds_total"] {
        assert!(text.contains(&format!("\nstagelight_collector_{metric} ")), "{metric}");
    }
}
