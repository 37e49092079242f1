//! Blocking calls that end early because of a profile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stagelight_benches::report::{Bar, Report};

use super::{child, load};

const CALLS: u64 = 400;

pub fn measure(report: &mut Report) {
    for rung in ["perf-sigtrap", "perf-setsig"] {
        let interrupted = child::figures(rung, &["eintr"]).first().copied().unwrap_or(f64::NAN);
        let what = format!("of {CALLS} blocking calls interrupted at 999 Hz, {rung}");
        report.add(format!("eintr-{rung}"), what, interrupted, "", Bar::AtMost(0.0));
    }
}

/// Threads that wait for a millisecond at a time, and burn CPU time between, so that samples fall due.
pub fn child() -> Vec<f64> {
    let Ok(session) = stagelight_profiler::cpu().hz(999).start() else { return Vec::new() };
    let (interrupted, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::black_box(load::work(1));
            }
        });
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..CALLS / 4 {
                        load::works(100, round);
                        // SAFETY: no descriptors to wait for, a millisecond long.
                        if unsafe { libc::poll(std::ptr::null_mut(), 0, 1) } < 0 {
                            interrupted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        waiting.into_iter().for_each(|thread| drop(thread.join()));
        stop.store(true, Ordering::Relaxed);
    });
    drop(session);
    vec![interrupted.load(Ordering::Relaxed) as f64]
}
