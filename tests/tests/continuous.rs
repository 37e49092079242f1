//! The past can be asked for, others' profiles go first, and triggers keep what led to them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stagelight::{TraceSettings, query, stage};
use stagelight_profiler::{
    Error, Profile, Trigger, continuous, counters, cpu, kept_profiles, off_cpu, past, wall,
};
use stagelight_tests::{burn, skip, thread_cpu_ns};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[query(name = "past.query", key = "past", tenant = tenant)]
fn ask(tenant: &str, ns: u64) {
    work(ns);
}

#[stage(name = "past.work")]
fn work(ns: u64) {
    burn(ns);
}

fn of(profile: &Profile, tenant: &str) -> f64 {
    profile.filter("tenant", tenant).total() as f64
}

/// Burns about that much CPU time for a tenant, and says how much it was.
fn burn_for(tenant: &str, ms: u64) -> f64 {
    let start = thread_cpu_ns();
    (0..ms / 10).for_each(|_| ask(tenant, 10_000_000));
    (thread_cpu_ns() - start) as f64
}

#[test]
fn the_past_holds_what_was_sampled_and_forgets_what_is_old() {
    let _alone = alone();
    assert!(matches!(past(Duration::from_secs(1)), Err(Error::Unsupported(_))));
    let continuous = continuous().hz(499).keep(Duration::from_secs(10)).start().unwrap();
    let burned = burn_for("early", 800);
    let profile = past(Duration::from_secs(60)).unwrap();
    let found = of(&profile, "early") / burned;
    assert!((0.9..1.1).contains(&found), "{found} of the CPU time is in the past");
    assert!(matches!(stagelight_profiler::continuous().start(), Err(Error::Busy(_))));
    // What is asked for anew is in the past at once; what is older than asked for is not.
    std::thread::sleep(Duration::from_millis(1200));
    let burned = burn_for("late", 500);
    let profile = past(Duration::from_secs(1)).unwrap();
    assert!((0.9..1.1).contains(&(of(&profile, "late") / burned)));
    assert!(of(&profile, "early") == 0.0, "{}", of(&profile, "early"));
    assert!(profile.stats().duration > Duration::from_millis(400));
    drop(continuous);
    assert!(matches!(past(Duration::from_secs(1)), Err(Error::Unsupported(_))));
}

#[test]
fn a_profile_that_is_asked_for_goes_first_and_is_remembered() {
    let _alone = alone();
    let continuous = continuous().hz(499).start().unwrap();
    let session = cpu().hz(250).owner("a test").start().unwrap();
    // While it runs the past is what it was, and another profile is refused as ever.
    past(Duration::from_secs(1)).unwrap();
    assert!(matches!(cpu().start(), Err(Error::Busy(_))));
    let mut burned = burn_for("asked", 600);
    let asked = session.stop().unwrap();
    assert!((0.9..1.1).contains(&(of(&asked, "asked") / burned)));
    // And sampling goes on by itself.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "sampling goes on");
        burned += burn_for("asked", 300);
        let profile = past(Duration::from_secs(60)).unwrap();
        if of(&profile, "asked") > 1.2 * of(&asked, "asked") {
            assert!(of(&profile, "asked") < 1.1 * burned);
            break;
        }
    }
    drop(continuous);
}

#[test]
fn profiles_of_other_kinds_go_first_and_are_not_remembered() {
    let _alone = alone();
    let continuous = continuous().hz(499).start().unwrap();
    let before = burn_for("before", 300);
    let other = || {
        burn_for("other", 200);
        std::thread::sleep(Duration::from_millis(50));
    };
    let session = wall().hz(100).start().unwrap();
    let busy = cpu().start().unwrap_err().to_string();
    assert!(busy.contains("a wall-clock profile"), "{busy}");
    other();
    assert!(of(&session.stop().unwrap(), "other") > 0.0);
    match off_cpu().start() {
        Ok(session) => {
            other();
            session.stop().unwrap();
        }
        Err(Error::Refused(why)) => skip("an off-CPU profile beside the continuous one", &why),
        Err(error) => panic!("{error}"),
    }
    match counters().start() {
        Ok(session) => {
            other();
            session.stop().unwrap();
        }
        Err(Error::Refused(why)) => skip("counters beside the continuous profile", &why),
        Err(error) => panic!("{error}"),
    }
    // Sampling goes on by itself, and what was taken meanwhile is not among it.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "sampling goes on");
        burn_for("after", 100);
        let profile = past(Duration::from_secs(60)).unwrap();
        if of(&profile, "after") > 0.0 {
            assert_eq!(of(&profile, "other"), 0.0);
            assert!((0.9..1.1).contains(&(of(&profile, "before") / before)));
            assert!(profile.label_totals("state").iter().all(|(state, _)| state.is_empty()));
            break;
        }
    }
    drop(continuous);
}

#[test]
fn triggers_keep_the_profile_that_led_to_them_and_not_too_often() {
    let _alone = alone();
    let continuous = continuous().hz(499).start().unwrap();
    let before = kept_profiles().len();
    let keeper = continuous
        .keeper()
        .on(Trigger::slow_query())
        .on(Trigger::p99_jump("past.*", 3.0))
        .on(Trigger::when("never", |_| None))
        .at_most_every(Duration::from_secs(3600));
    let slow = TraceSettings { head: 0.0, slow: Some(Duration::from_millis(100)) };
    let collector = stagelight::collector()
        .every(Duration::from_millis(50))
        .traces(Some(slow))
        .exporter(keeper)
        .start()
        .unwrap();
    burn_for("usual", 300);
    assert_eq!(kept_profiles().len(), before);
    ask("slow", 200_000_000);
    ask("slow", 200_000_000);
    let deadline = Instant::now() + Duration::from_secs(20);
    while kept_profiles().len() == before {
        assert!(Instant::now() < deadline, "the slow query's profile is kept");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    let kept = kept_profiles();
    assert_eq!(kept.len(), before + 1, "no more than one in an hour");
    assert!(
        kept[0].reason().contains("slow query") && kept[0].reason().contains("past"),
        "{}",
        kept[0].reason()
    );
    let profile = kept[0].profile();
    assert!(of(&profile, "slow") > 0.1e9 && of(&profile, "usual") > 0.1e9);
    collector.stop();
    drop(continuous);
}

#[test]
fn a_stage_whose_p99_jumps_is_noticed() {
    let _alone = alone();
    let continuous = continuous().hz(99).start().unwrap();
    let before = kept_profiles().len();
    let keeper = continuous.keeper().on(Trigger::p99_jump("past.work", 3.0)).at_most_every(Duration::ZERO);
    let collector =
        stagelight::collector().every(Duration::from_millis(100)).exporter(keeper).start().unwrap();
    let (slower, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Short, so that on a busy machine fewer than one call in a hundred loses its core.
                work(if slower.load(Ordering::Relaxed) { 100_000 } else { 5_000 });
            }
        });
        std::thread::sleep(Duration::from_millis(1500));
        let usual = kept_profiles().len();
        slower.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(20);
        while kept_profiles().len() == usual && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let kept = kept_profiles();
    assert!(kept.len() > before, "the jump is noticed");
    assert!(kept[0].reason().contains("p99 of past.work"), "{}", kept[0].reason());
    collector.stop();
    drop(continuous);
}
