//! What a profile takes of CPU-bound threads: work done in a second of their CPU time, with it and without it, in turns.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use stagelight_benches::cpu_time::thread_ns;
use stagelight_benches::harness::Series;
use stagelight_benches::report::{Bar, Report};

use super::{child, load};

/// Rounds without a profile and with one at 99 Hz: its cost is small beside what differs from round to round.
const ROUNDS: usize = 451;

/// In one of so many rounds there is one at 999 Hz too.
const FAST_EVERY: usize = 3;

/// Pieces of work a round and thread: some 103 ms, in which ten periods of 99 Hz end, as many as fall on that time. In longer rounds
/// the machine's own ups and downs differ more.
const PIECES: u64 = 53_000;

pub fn measure(report: &mut Report) {
    // Without, at 99 Hz, and at 999 Hz, round by round.
    let mut rounds: Vec<[Option<f64>; 3]> = Vec::new();
    // Samples, and the time that handlers spent on them, at each rate.
    let mut handlers = [(0, Duration::ZERO); 3];
    let workers = Workers::new();
    for round in 0..ROUNDS {
        let variants = if round % FAST_EVERY == 0 { 3 } else { 2 };
        let mut figures = [None; 3];
        for turn in 0..variants {
            // So that none always follows the same one.
            let variant = (round / FAST_EVERY + round + turn) % variants;
            let hz = [None, Some(99), Some(999)][variant];
            let before = stagelight_profiler::overhead().sampling;
            let session = hz.and_then(|hz| stagelight_profiler::cpu().hz(hz).start().ok());
            figures[variant] = Some(workers.piece());
            let profile = session.and_then(|session| session.stop().ok());
            handlers[variant].0 += profile.map_or(0, |profile| profile.stats().samples);
            handlers[variant].1 += stagelight_profiler::overhead().sampling.saturating_sub(before);
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
    for (hz, (samples, time)) in [("99", handlers[1]), ("999", handlers[2])] {
        let each = time.as_secs_f64() * 1e6 / samples.max(1) as f64;
        let what =
            format!("a sample at {hz} Hz by the profiler's own estimate, 10 µs of it for the interrupt");
        report.add(format!("sample-{hz}-us"), what, each, "µs", Bar::None);
    }
    report.add("piece-us", "a piece of work", without.with(&without, |ns, _| ns / 1e3), "µs", Bar::None);
    report.add("lost-99", "throughput lost at 99 Hz", lost(1), "%", Bar::AtMost(0.2));
    report.add("lost-999", "throughput lost at 999 Hz", lost(2), "%", Bar::AtMost(1.5));
    for hz in ["99", "999"] {
        let floor = Series::new(child::figures("auto", &["floor", hz]));
        let what = format!("throughput lost to {hz} signals a second whose handler does nothing");
        report.add(format!("lost-{hz}-floor"), what, floor, "%", Bar::None);
    }
}

/// Two threads that work when they are told to, and were there before any profile.
pub struct Workers {
    go: Vec<Sender<()>>,
    done: Receiver<f64>,
}

impl Workers {
    pub fn new() -> Self {
        let (report, done) = channel();
        let start = |seed| {
            let (report, (go, told)) = (report.clone(), channel());
            std::thread::spawn(move || {
                for () in told {
                    let start = thread_ns();
                    load::works(PIECES, seed);
                    // Nobody waits for it any more if it can't be sent.
                    let _ = report.send((thread_ns() - start) / PIECES as f64);
                }
            });
            go
        };
        Self { go: [1, 2].map(start).into(), done }
    }

    /// Nanoseconds of CPU time a piece takes, the mean of the threads.
    pub fn piece(&self) -> f64 {
        let told = self.go.iter().filter(|go| go.send(()).is_ok()).count();
        self.done.iter().take(told).sum::<f64>() / told as f64
    }
}
