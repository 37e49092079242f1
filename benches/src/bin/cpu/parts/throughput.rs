//! What a profile takes of CPU-bound threads: work done in a second of their CPU time, with it and without it, in turns.

use stagelight_benches::cpu_time::thread_ns;
use stagelight_benches::harness::Series;
use stagelight_benches::report::{Bar, Report};

use super::{child, load};

/// Rounds without a profile and with one at 99 Hz: its cost is small beside what differs from round to round.
const ROUNDS: usize = 361;

/// In one of so many rounds there is one at 999 Hz too.
const FAST_EVERY: usize = 3;

/// Pieces of work a round and thread, some 150 ms.
const PIECES: u64 = 50_000;

pub fn measure(report: &mut Report) {
    // Without, at 99 Hz, and at 999 Hz, round by round.
    let mut rounds: Vec<[Option<f64>; 3]> = Vec::new();
    let before = stagelight_profiler::overhead();
    let mut samples = 0;
    for round in 0..ROUNDS {
        let variants = if round % FAST_EVERY == 0 { 3 } else { 2 };
        let mut figures = [None; 3];
        for turn in 0..variants {
            // So that none always follows the same one.
            let variant = (round / FAST_EVERY + round + turn) % variants;
            let hz = [None, Some(99), Some(999)][variant];
            let session = hz.and_then(|hz| stagelight_profiler::cpu().hz(hz).start().ok());
            figures[variant] = Some(piece());
            samples +=
                session.and_then(|session| session.stop().ok()).map_or(0, |profile| profile.stats().samples);
        }
        rounds.push(figures);
    }
    // The first finds all cold.
    rounds.remove(0);
    let lost = |variant: usize| {
        let pair = |round: &[Option<f64>; 3]| Some((1.0 - round[0]? / round[variant]?) * 100.0);
        Series::new(rounds.iter().filter_map(pair).collect())
    };
    let without = Series::new(rounds.iter().filter_map(|round| round[0]).collect());
    let handler = stagelight_profiler::overhead().sampling.saturating_sub(before.sampling);
    let each = handler.as_secs_f64() * 1e6 / samples.max(1) as f64;
    let what = "a sample by the profiler's own estimate, 10 µs of it for the interrupt";
    report.add("sample-us", what, each, "µs", Bar::None);
    report.add("piece-us", "a piece of work", without.with(&without, |ns, _| ns / 1e3), "µs", Bar::None);
    report.add("lost-99", "throughput lost at 99 Hz", lost(1), "%", Bar::AtMost(0.2));
    report.add("lost-999", "throughput lost at 999 Hz", lost(2), "%", Bar::AtMost(1.5));
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
