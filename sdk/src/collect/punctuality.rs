//! Whether the collector keeps its times, and what it uses itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::cpu_time;

static LOOKS: AtomicU64 = AtomicU64::new(0);
static LATE_LAST_NS: AtomicU64 = AtomicU64::new(0);
static LATE_MAX_NS: AtomicU64 = AtomicU64::new(0);
static OVERRUNS: AtomicU64 = AtomicU64::new(0);
static CPU_NS: AtomicU64 = AtomicU64::new(0);

/// How the [collectors](crate::collector) of this process kept their times so far, and what they used: those that were
/// stopped included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectorStats {
    /// Looks that were taken: at what is active, at the end of a window, or both at once.
    pub looks: u64,
    /// How long after its time the last look came.
    pub late_last: Duration,
    /// How long after its time a look came at worst. What is late by a period or more has left looks out: none are made up
    /// for, and a window that ends late is as much longer.
    pub late_max: Duration,
    /// Looks that took longer than their period, observers and exporters included: the look's at activity, or the window's
    /// where one ended.
    pub overruns: u64,
    /// CPU time of the collectors' threads, observers and exporters included. Always 0 where the system tells none.
    pub cpu: Duration,
}

/// How the collectors kept their times so far. Costs five loads.
#[must_use]
pub fn collector_stats() -> CollectorStats {
    let duration = |ns: &AtomicU64| Duration::from_nanos(ns.load(Ordering::Relaxed));
    CollectorStats {
        looks: LOOKS.load(Ordering::Relaxed),
        late_last: duration(&LATE_LAST_NS),
        late_max: duration(&LATE_MAX_NS),
        overruns: OVERRUNS.load(Ordering::Relaxed),
        cpu: duration(&CPU_NS),
    }
}

/// Watches one collector, on its thread.
pub(crate) struct Punctuality {
    cpu_ns: u64,
}

impl Punctuality {
    pub(crate) fn new() -> Self {
        Self { cpu_ns: cpu_time::own_thread_ns() }
    }

    /// A look begins that was due at that time.
    pub(crate) fn begin(&self, due: Instant, now: Instant) {
        let late = nanos(now.saturating_duration_since(due));
        LATE_LAST_NS.store(late, Ordering::Relaxed);
        LATE_MAX_NS.fetch_max(late, Ordering::Relaxed);
    }

    /// The look that began then is done.
    pub(crate) fn end(&mut self, began: Instant, period: Duration) {
        LOOKS.fetch_add(1, Ordering::Relaxed);
        if began.elapsed() > period {
            OVERRUNS.fetch_add(1, Ordering::Relaxed);
        }
        let cpu_ns = cpu_time::own_thread_ns();
        CPU_NS.fetch_add(cpu_ns.saturating_sub(self.cpu_ns), Ordering::Relaxed);
        self.cpu_ns = cpu_ns;
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
