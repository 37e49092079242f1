//! Ends the process if something in it stands still.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stagelight_benches::cpu_time::process_ns;

/// What stands still for so long hangs, if the process's other threads had the processor for as long meanwhile: on a busy machine
/// a thread among many may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands still for so long hangs, also where all others wait for it.
const LAST_PATIENCE: Duration = Duration::from_secs(300);

/// When something last came round, by the clock on the wall and by the process's CPU time.
struct Round {
    rounds: u64,
    at: Instant,
    cpu_ns: f64,
}

impl Round {
    fn of(pulse: &Pulse) -> Self {
        Self { rounds: pulse.rounds(), at: Instant::now(), cpu_ns: process_ns() }
    }

    fn is_too_long_ago(&self) -> bool {
        let used = Duration::from_nanos((process_ns() - self.cpu_ns) as u64);
        self.at.elapsed() > LAST_PATIENCE || self.at.elapsed().min(used) > PATIENCE
    }
}

/// How often something came round.
pub(crate) struct Pulse {
    pub(crate) name: &'static str,
    pub(crate) rounds: AtomicU64,
}

impl Pulse {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, rounds: AtomicU64::new(0) }
    }

    pub(crate) fn beat(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }
}

/// Watches until it is told to stop. What stands still is named, and the process ends with an abort.
pub(crate) fn watch(pulses: &[&Pulse], stop: &AtomicBool) {
    let mut seen: Vec<Round> = pulses.iter().map(|pulse| Round::of(pulse)).collect();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        for (pulse, seen) in pulses.iter().zip(&mut seen) {
            if pulse.rounds() != seen.rounds {
                *seen = Round::of(pulse);
            } else if seen.is_too_long_ago() {
                println!("HUNG: {} stands still at {} rounds", pulse.name, seen.rounds);
                std::process::abort();
            }
        }
    }
}
