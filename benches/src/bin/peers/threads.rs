//! Two threads in the same stage against one: what a call costs when others record at once.
//!
//! The clock pair shares nothing between threads, so what it loses to a second thread is the machine's own doing (one core
//! under two hardware threads, the clock rate). Its ratio stands beside ours.

use std::sync::Barrier;

use crate::body::{clock_pair, in_query, staged};
use stagelight_benches::harness::{interleave, per_call};
use stagelight_benches::report::{Bar, Report};

const ROUNDS: usize = 41;
const CALLS: u32 = 1_000_000;

pub fn measure(report: &mut Report) {
    eprintln!("two threads");
    let [one, two, clock_one, clock_two] = interleave(
        ROUNDS,
        [
            Box::new(|| on_threads(1, staged)),
            Box::new(|| on_threads(2, staged)),
            Box::new(|| on_threads(1, clock_pair)),
            Box::new(|| on_threads(2, clock_pair)),
        ],
    );
    let machine = clock_two.over(&clock_one);
    report.add("two-threads", "a stage, two threads ÷ one", two.over(&one), "×", Bar::AtMost(1.05));
    report.add("two-threads-machine", "the clock pair, two threads ÷ one", machine, "×", Bar::None);
}

/// Nanoseconds a call when so many threads make it at once, each in a query; the mean of the threads.
pub fn on_threads(count: usize, call: impl Fn(u64) -> u64 + Copy + Sync) -> f64 {
    let start = Barrier::new(count);
    let work = || {
        start.wait();
        in_query(|| per_call(CALLS, call))
    };
    let total: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a round does not panic")).sum()
    });
    total / count as f64
}
