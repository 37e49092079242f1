//! What Stagelight itself does stands in no profile of the program, and is told beside it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stagelight::stage;
use stagelight_profiler::{Error, Profile, cpu, locks, off_cpu, serve, wall};
use stagelight_tests::{burn, skip};

/// Alone, for there is one profile of the CPU at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[stage(name = "own.tiny")]
#[inline(never)]
fn tiny(n: u64) -> u64 {
    std::hint::black_box(n + 1)
}

/// Nearly all of it is recording.
#[inline(never)]
fn call_tiny_stages() -> u64 {
    (0..1_000).fold(0, |sum, _| tiny(sum))
}

/// Runs a load beside what is done, with all of our threads that serve and collect.
fn beside<R>(load: fn(), work: impl FnOnce() -> R) -> R {
    let _server = serve("127.0.0.1:0").unwrap();
    let collector = stagelight::collector().every(Duration::from_millis(5)).start().unwrap();
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                load();
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        result
    });
    collector.stop();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn folded(profile: &Profile) -> String {
    let mut out = Vec::new();
    profile.write_folded(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn top(profile: &Profile) -> String {
    let mut out = Vec::new();
    profile.write_top(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn assert_no_thread_of_ours(profile: &Profile) {
    let threads = profile.label_totals("thread");
    assert!(
        !profile.is_empty() && threads.iter().all(|(name, _)| !name.starts_with("stagelight-")),
        "{threads:?}"
    );
}

#[test]
fn cpu_profiles_have_the_programs_functions_alone() {
    let _alone = alone();
    for lines in [false, true] {
        let session = || if lines { cpu().hz(999).lines() } else { cpu().hz(999) };
        let taken = beside(
            || {
                call_tiny_stages();
            },
            || session().duration(Duration::from_millis(600)).run(),
        );
        let profile = taken.unwrap();
        assert_no_thread_of_ours(&profile);
        let (stats, text) = (profile.stats(), folded(&profile));
        let ours = ["stagelight::record::", "stagelight_profiler::unwind::", "/sdk/src/record/"];
        for line in text.lines() {
            assert!(ours.iter().all(|ours| !line.contains(ours)), "{line}");
        }
        assert!(!stats.own_threads.is_zero(), "the collector looks 200 times a second");
        // In this build nothing is inlined, and recording takes most of the time.
        let recording = stats.own_functions.as_nanos() as f64 / profile.total() as f64;
        assert!(recording > 0.2, "{recording} {text}");
        let below = text.lines().filter(|line| line.contains("own::call_tiny_stages"));
        let below: i64 = below.filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok()).sum();
        assert!(below as f64 * 1e3 > 0.6 * profile.total() as f64, "{text}");
        let top = top(&profile);
        assert!(top.contains("of Stagelight's threads are left out"), "{top}");
        assert!(top.contains("of its functions count with those that called them"), "{top}");
    }
}

#[test]
fn profiles_of_waits_have_the_programs_threads_alone() {
    let _alone = alone();
    let rest = || std::thread::sleep(Duration::from_millis(2));
    let profile = beside(rest, || wall().hz(100).duration(Duration::from_millis(500)).run()).unwrap();
    assert_no_thread_of_ours(&profile);
    // Server, collector, the one that drains and the one that visits.
    let own = profile.stats().own_threads.as_secs_f64();
    assert!(own > 2.0 * profile.stats().duration.as_secs_f64(), "{own}");
    match beside(rest, || off_cpu().duration(Duration::from_millis(500)).run()) {
        Ok(profile) => {
            assert_no_thread_of_ours(&profile);
            assert!(!profile.stats().own_threads.is_zero());
        }
        Err(Error::Refused(reason)) => skip("an off-CPU profile", &reason),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn stacks_of_locks_end_in_who_locked_with_lines_too() {
    static LOCK: stagelight::sync::Mutex<u64> = stagelight::sync::Mutex::new(0);
    let _alone = alone();
    let session = locks().lines().start().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut guard = LOCK.lock().unwrap();
                    burn(300_000);
                    *guard += 1;
                }
            });
        }
    });
    let profiles = session.stop().unwrap();
    for profile in [&profiles.block, &profiles.mutex] {
        let text = folded(profile);
        assert!(!text.is_empty());
        for line in text.lines() {
            let (stack, _) = line.rsplit_once(' ').unwrap();
            let innermost = stack.rsplit(';').next().unwrap();
            assert!(innermost.contains("own::"), "{line}");
        }
    }
}
