//! How much of the process's CPU time queries take, and how much is spent outside of them.
//!
//! To read a thread's clock where a query begins and ends would cost more than all else that is
//! recorded of it. But the looks of the active history find what runs, in a query or in none, and
//! what they find comes to what the clocks say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::cpu_time;

static WITHIN_NS: AtomicU64 = AtomicU64::new(0);
static OUTSIDE_NS: AtomicU64 = AtomicU64::new(0);

/// CPU time of the process while looks were taken, in nanoseconds: in queries, and in none. `None`
/// before the first.
#[cfg(feature = "prometheus")]
pub(crate) fn query_cpu() -> Option<[u64; 2]> {
    let parts = [&WITHIN_NS, &OUTSIDE_NS].map(|part| part.load(Ordering::Relaxed));
    (parts != [0, 0]).then_some(parts)
}

/// What one history's looks came to.
#[derive(Debug, Default)]
pub(super) struct QueryCpu {
    last: Option<(Instant, u64)>,
    /// Time that was found in queries and not counted yet; below zero if more was.
    owed_ns: f64,
}

impl QueryCpu {
    /// A look found so many threads on a core within queries.
    pub(super) fn add(&mut self, at: Instant, within: f64) {
        let cpu_ns = cpu_time::process_ns();
        if let Some((before, cpu_before_ns)) = self.last.replace((at, cpu_ns)) {
            let used_ns = cpu_ns.saturating_sub(cpu_before_ns);
            let within_ns = self.part(used_ns, within * at.duration_since(before).as_nanos() as f64);
            WITHIN_NS.fetch_add(within_ns, Ordering::Relaxed);
            OUTSIDE_NS.fetch_add(used_ns - within_ns, Ordering::Relaxed);
        }
    }

    /// What goes to queries of the time that was used: no more than all. What is over waits for the
    /// next looks.
    fn part(&mut self, used_ns: u64, found_ns: f64) -> u64 {
        self.owed_ns += found_ns;
        let part = self.owed_ns.clamp(0.0, used_ns as f64);
        self.owed_ns -= part;
        part as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_look_finds_too_much_the_next_ones_make_up_for() {
        let mut cpu = QueryCpu::default();
        assert_eq!(cpu.part(100, 50.0), 50);
        assert_eq!(cpu.part(100, 150.0), 100);
        assert_eq!(cpu.part(100, 0.0), 50);
        assert_eq!(cpu.part(100, 0.0), 0);
    }
}
