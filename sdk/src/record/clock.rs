//! The clock of the record path: the time-stamp counter where the kernel itself trusts it, else
//! `CLOCK_MONOTONIC`.
//!
//! A pair of counter reads costs a third of a pair of `Instant::now()` on the reference machine. Trust is
//! the kernel's decision, not ours: only where `current_clocksource` is `tsc` are the counters of all
//! cores one clock. `STAGELIGHT_CLOCK=system|tsc|auto` overrides.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How ticks become nanoseconds. Copied into each thread's block, so that the record path reads it from a
/// cache line that it has at hand anyway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Whether a tick is one count of the TSC (else a nanosecond).
    pub(crate) tsc: bool,
    /// Nanoseconds a tick, as a 32.32 fixed-point number.
    pub(crate) ns_per_tick: u64,
}

/// A tick is a nanosecond.
const UNIT: u64 = 1 << 32;

impl Clock {
    /// The clock of this process. The first call calibrates it, which takes about a millisecond.
    pub(crate) fn get() -> Clock {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        *CLOCK.get_or_init(|| choose(std::env::var("STAGELIGHT_CLOCK").ok().as_deref(), kernel_trusts_tsc()))
    }

    /// The name that `status` and the metrics report.
    pub(crate) fn name(self) -> &'static str {
        if self.tsc { "tsc" } else { "system" }
    }
}

/// The present time in ticks.
#[inline(always)]
pub(crate) fn ticks(tsc: bool) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if tsc {
        // SAFETY: `rdtsc` is part of x86_64 and touches no memory.
        return unsafe { core::arch::x86_64::_rdtsc() };
    }
    let _ = tsc;
    system_ns()
}

/// `ticks` in nanoseconds, for a clock of `ns_per_tick`.
#[inline(always)]
pub(crate) fn to_ns(ticks: u64, ns_per_tick: u64) -> u64 {
    ((u128::from(ticks) * u128::from(ns_per_tick)) >> 32) as u64
}

/// Nanoseconds since the process first asked, by the system's clock, which never goes back.
pub(crate) fn system_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn choose(wish: Option<&str>, kernel_trusts_tsc: bool) -> Clock {
    let system = Clock { tsc: false, ns_per_tick: UNIT };
    if !cfg!(all(target_arch = "x86_64", not(miri))) {
        return system;
    }
    match wish {
        Some("system") => system,
        Some("tsc") => calibrate().unwrap_or(system),
        _ if kernel_trusts_tsc => calibrate().unwrap_or(system),
        _ => system,
    }
}

fn kernel_trusts_tsc() -> bool {
    // Miri lets nobody read files.
    !cfg!(miri)
        && std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .is_ok_and(|name| name.trim() == "tsc")
}

/// Compares the counter with the system's clock over a millisecond: 50 ns of uncertainty at either end
/// make the rate right to 1 in 10,000, far finer than a histogram cell. `None` if the counter stood still.
fn calibrate() -> Option<Clock> {
    let (ns0, ticks0) = read_both();
    let (ns1, ticks1) = loop {
        let now = read_both();
        if now.0 - ns0 >= Duration::from_millis(1).as_nanos() as u64 {
            break now;
        }
        std::hint::spin_loop();
    };
    let (ns, ticks) = (ns1 - ns0, ticks1.saturating_sub(ticks0));
    // Below 10 MHz or above 100 GHz it is no clock to measure by.
    let ns_per_tick = (u128::from(ns) << 32).checked_div(u128::from(ticks))?;
    let plausible = UNIT as u128 / 100..=UNIT as u128 * 100;
    plausible.contains(&ns_per_tick).then_some(Clock { tsc: true, ns_per_tick: ns_per_tick as u64 })
}

/// The same instant on both clocks: of a few tries, the one that was disturbed least.
fn read_both() -> (u64, u64) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..5 {
        let before = ticks(true);
        let ns = system_ns();
        let after = ticks(true);
        let width = after.saturating_sub(before);
        if width < best.0 {
            best = (width, ns, before + width / 2);
        }
    }
    (best.1, best.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distrusted_counter_is_not_used() {
        assert!(!choose(None, false).tsc);
        assert!(!choose(Some("auto"), false).tsc);
        assert!(!choose(Some("system"), true).tsc);
    }

    #[cfg_attr(miri, ignore = "Miri's clock goes by steps of the program")]
    #[test]
    fn ticks_agree_with_the_system_clock() {
        let clock = Clock::get();
        let (wall, start) = (Instant::now(), ticks(clock.tsc));
        std::thread::sleep(Duration::from_millis(50));
        let ns = to_ns(ticks(clock.tsc) - start, clock.ns_per_tick) as f64;
        let wall = wall.elapsed().as_nanos() as f64;
        assert!((ns / wall - 1.0).abs() < 0.02, "{ns} against {wall}");
    }

    #[test]
    fn conversion_does_not_overflow() {
        assert_eq!(to_ns(u64::MAX, UNIT), u64::MAX);
    }
}
