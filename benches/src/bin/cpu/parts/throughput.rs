//! What a profile takes of CPU-bound threads: work done in a second of their CPU time, with it and without it, in turns.

use stagelight_benches::cpu_time::thread_ns;
use stagelight_benches::harness::Series;
use stagelight_benches::report::{Bar, Report};

use super::{child, load};

const ROUNDS: usize = 121;

/// Pieces of work a round and thread, some 150 ms.
const PIECES: u64 = 50_000;

pub fn measure(report: &mut Report) {
    let mut rounds: [Vec<f64>; 3] = Default::default();
    let before = stagelight_profiler::overhead();
    let mut samples = 0;
    for round in 0..=ROUNDS {
        for turn in 0..3 {
            let variant = (round + turn) % 3;
            let session = match variant {
                0 => None,
                1 => stagelight_profiler::cpu().hz(99).start().ok(),
                _ => stagelight_profiler::cpu().hz(999).start().ok(),
            };
            let ns = piece();
            samples +=
                session.and_then(|session| session.stop().ok()).map_or(0, |profile| profile.stats().samples);
            if round > 0 {
                rounds[variant].push(ns);
            }
        }
    }
    let [without, slow, fast] = rounds.map(Series::new);
    let lost = |with: &Series| with.with(&without, |with, without| (1.0 - without / with) * 100.0);
    let handler = stagelight_profiler::overhead().sampling.saturating_sub(before.sampling);
    let each = handler.as_secs_f64() * 1e6 / samples.max(1) as f64;
    let what = "a sample by the profiler's own estimate, 10 µs of it for the interrupt";
    report.add("sample-us", what, each, "µs", Bar::None);
    report.add("piece-us", "a piece of work", without.with(&without, |ns, _| ns / 1e3), "µs", Bar::None);
    report.add("lost-99", "throughput lost at 99 Hz", lost(&slow), "%", Bar::AtMost(0.2));
    report.add("lost-999", "throughput lost at 999 Hz", lost(&fast), "%", Bar::AtMost(1.5));
    let floor = Series::new(child::figures("auto", &["floor"]));
    let what = "throughput lost to 999 signals a second whose handler does nothing";
    report.add("lost-999-floor", what, floor, "%", Bar::None);
}

/// Nanoseconds of CPU time a piece takes, the mean of two threads.
pub fn piece() -> f64 {
    std::thread::scope(|scope| {
        let threads = [1, 2].map(|seed| {
            scope.spawn(move || {
                let start = thread_ns();
                load::works(PIECES, seed);
                (thread_ns() - start) / PIECES as f64
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).sum::<f64>() / 2.0
    })
}
