//! Which part of a sample's weight was the kernel's, by what the kernel itself accounts of the thread.
//!
//! Where a sample fell tells only in part who ran. A system call is seen by the instruction before
//! the return address, but a page fault or an interrupt leaves no trace in the code that it
//! interrupts. The kernel accounts each thread's time as user or system time; that is what
//! `/proc/self/stat` shows, and what decides here.
//!
//! So each thread has a balance: the system time that no sample has shown yet. A sample within a
//! system call pays from it. What is left over goes to samples that fell outside of one. The sums
//! are the kernel's own. Where a thread goes to and fro between its own code and page faults within
//! one period, the function that stands below may be its neighbour.

/// By how much samples within system calls may exceed what the kernel accounted, beside 8 periods:
/// on most machines it accounts by its own tick, so it and the samples agree on average only.
const SLACK_NS: u64 = 32_000_000;
const SLACK_PERIODS: u64 = 8;

/// CPU time of a thread, as the kernel accounts it, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounted {
    pub(super) user: u64,
    pub(super) system: u64,
}

impl Accounted {
    /// That of the calling thread: 0.2 µs. The kernel brings it up to date only as the thread's CPU
    /// clock is read. `None` where it keeps no account. Async-signal-safe.
    pub(super) fn own() -> Option<Self> {
        // SAFETY: all-zero is a valid `rusage`, and the call writes to it alone; it is a plain
        // system call.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            if libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) != 0 {
                return None;
            }
            usage
        };
        let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
        let own = Self { user: ns(usage.ru_utime), system: ns(usage.ru_stime) };
        // A thread that takes a sample has run.
        (own != Self::default()).then_some(own)
    }
}

/// What a thread's samples have yet to show of its system time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Balance {
    /// The system time at the last sample.
    seen: u64,
    /// Below zero where samples within system calls came to more.
    owed: i64,
}

impl Balance {
    /// That of a thread at its first sample, which weighs `weight`. What it did before is known as a
    /// whole only, so of the sample it is the same share.
    pub(super) fn first(now: Accounted, weight: u64) -> Self {
        let all = u128::from(now.user) + u128::from(now.system);
        let share = (u128::from(weight) * u128::from(now.system)).checked_div(all).unwrap_or(0);
        Self { seen: now.system.saturating_sub(share as u64), owed: 0 }
    }

    /// How much of a sample's weight was the kernel's. `within` says that the sample itself fell into
    /// the kernel.
    pub(super) fn draw(&mut self, now: Accounted, weight: u64, period: u64, within: bool) -> u64 {
        let gained = now.system.saturating_sub(self.seen);
        self.seen = now.system;
        self.owed = self.owed.saturating_add_unsigned(gained);
        let slack = if within { SLACK_NS.saturating_add(period.saturating_mul(SLACK_PERIODS)) } else { 0 };
        let most = self.owed.saturating_add_unsigned(slack).max(0).unsigned_abs();
        let drawn = weight.min(most);
        self.owed = self.owed.saturating_sub_unsigned(drawn);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 1_000_000;
    const TICK: u64 = 4_000_000;

    /// The next of a row of numbers that look random.
    fn next(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *seed >> 33
    }

    /// Samples of a thread that is in the kernel in so many of a hundred moments, which its samples
    /// see or do not. Of the total, what was drawn by samples that saw it and by those that did not.
    fn run(share: u64, seen: bool) -> (f64, f64) {
        const SAMPLES: u64 = 40_000;
        let (mut seed, mut balance, mut now) = (7, Balance::default(), Accounted::default());
        let (mut by_seeing, mut other) = (0, 0);
        for sample in 1..=SAMPLES {
            let within = next(&mut seed) % 100 < share;
            // The kernel looks for itself, at other moments, and less often.
            if sample.is_multiple_of(TICK / PERIOD) && next(&mut seed) % 100 < share {
                now.system += TICK;
            }
            let evident = within && seen;
            let drawn = balance.draw(now, PERIOD, PERIOD, evident);
            *if evident { &mut by_seeing } else { &mut other } += drawn;
        }
        let part = |drawn: u64| drawn as f64 / (SAMPLES * PERIOD) as f64;
        (part(by_seeing), part(other))
    }

    #[test]
    fn what_samples_do_not_see_is_the_kernels_all_the_same() {
        for share in [0, 20, 50, 84, 100] {
            let (by_seeing, other) = run(share, false);
            assert!(by_seeing == 0.0 && (other - share as f64 / 100.0).abs() < 0.03, "{share}: {other}");
        }
    }

    #[test]
    fn what_samples_see_is_not_taken_for_something_else() {
        for share in [0, 20, 50, 84, 100] {
            let (by_seeing, other) = run(share, true);
            assert!((by_seeing - share as f64 / 100.0).abs() < 0.04, "{share}: {by_seeing}");
            assert!(other < 0.02, "{share}: {other} beside what was seen");
        }
    }

    #[test]
    fn samples_can_not_show_more_than_the_kernel_accounts() {
        let (mut balance, mut drawn) = (Balance::default(), 0);
        for _ in 0..10_000 {
            drawn += balance.draw(Accounted::default(), PERIOD, PERIOD, true);
        }
        assert_eq!(drawn, SLACK_NS + SLACK_PERIODS * PERIOD);
    }

    #[test]
    fn a_first_sample_has_the_share_of_the_life_before() {
        let now = Accounted { user: 30_000, system: 10_000 };
        for (weight, kernel) in [(40_000, 10_000), (4_000, 1_000), (0, 0)] {
            assert_eq!(Balance::first(now, weight).draw(now, weight, PERIOD, false), kernel);
        }
        let none = Accounted::default();
        assert_eq!(Balance::first(none, 5).draw(none, 5, PERIOD, false), 0);
    }
}
