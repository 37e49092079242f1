//! Ends the process if something in it stands still.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What stands still for so long hangs, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let mut seen: Vec<(u64, Instant)> = pulses.iter().map(|pulse| (pulse.rounds(), Instant::now())).collect();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        for (pulse, (rounds, since)) in pulses.iter().zip(&mut seen) {
            if pulse.rounds() != *rounds {
                (*rounds, *since) = (pulse.rounds(), Instant::now());
            } else if since.elapsed() > PATIENCE {
                println!("HUNG: {} stands still at {rounds} rounds", pulse.name);
                std::process::abort();
            }
        }
    }
}
