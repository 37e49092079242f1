//! Which waits are sampled, so that cost is bounded and sums are unbiased.
//!
//! A wait of `w` is sampled with probability `w` / `threshold`, or 1 if it is longer, and then stands for the inverse of it.
//! So long waits are all there as they were, short ones by some that weigh for the others, and both the time and the number
//! of switches are right on average whatever the threshold is. That lets it rise while more than [`PER_SECOND`] are sampled.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Samples a second from which on the threshold rises.
pub(super) const PER_SECOND: u64 = 10_000;

/// The threshold is looked at anew after so many nanoseconds, in which so many samples may be taken.
const LOOK_NS: u64 = 20_000_000;
const PER_LOOK: u64 = PER_SECOND * LOOK_NS / 1_000_000_000;

/// The threshold doubles no more often.
const MAX_SHIFT: u64 = 30;

/// Waits shorter than the threshold by this factor are sampled as if they were no shorter: else one would stand for so many
/// switches that their number could be anything.
const SHORTEST: u64 = 64;

/// The present look's number in the upper half; below it how often the threshold was doubled, and samples of this look.
static LOOK: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // Constant and without a destructor, so that a handler can use it at any time.
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// Begins anew.
pub(super) fn reset() {
    LOOK.store(0, Ordering::Relaxed);
}

/// How many switches and how many nanoseconds the wait stands for, if it is to be sampled. `now` is any moment's time in
/// nanoseconds. Async-signal-safe.
pub(super) fn draw(wait: u64, threshold: u64, now: u64) -> Option<(u64, u64)> {
    let drawn = draw_below(wait, threshold.max(1) << shift(now), (threshold / SHORTEST).max(1), now);
    if drawn.is_some() {
        LOOK.fetch_add(1, Ordering::Relaxed);
    }
    drawn
}

fn draw_below(wait: u64, threshold: u64, shortest: u64, seed: u64) -> Option<(u64, u64)> {
    let chance = wait.max(shortest);
    if chance >= threshold {
        return Some((1, wait));
    }
    (random(seed) % threshold < chance).then(|| {
        let ns = u128::from(wait) * u128::from(threshold) / u128::from(chance);
        // Rounded up as often as it takes to be right on average.
        ((threshold + random(seed) % chance) / chance, ns as u64)
    })
}

/// How often the threshold is doubled at present.
fn shift(now: u64) -> u64 {
    let look = (now / LOOK_NS) & 0xffff_ffff;
    let state = LOOK.load(Ordering::Relaxed);
    let (last, shift, samples) = (state >> 32, (state >> 24) & 0xff, state & 0xff_ffff);
    let raised = (shift + samples / PER_LOOK).min(MAX_SHIFT);
    if last == look {
        return raised;
    }
    // It falls slowly, and only where there is room for twice as many samples.
    let settled = if samples < PER_LOOK / 2 { shift.saturating_sub(1) } else { raised };
    // Who comes second finds it done.
    let _ = LOOK.compare_exchange(state, look << 32 | settled << 24, Ordering::Relaxed, Ordering::Relaxed);
    settled
}

/// Xorshift, on each thread by itself, begun with the seed and where the thread lies. Async-signal-safe.
pub(super) fn random(seed: u64) -> u64 {
    let mut value = RANDOM.get();
    if value == 0 {
        let place = RANDOM.with(|place| std::ptr::from_ref(place) as u64);
        value = (place ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }
    value ^= value << 13;
    value ^= value >> 7;
    value ^= value << 17;
    RANDOM.set(value);
    // The high bits are the better ones.
    value >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sums_are_right_on_average_whatever_the_threshold() {
        for threshold in [1, 10_000, 40_000, 3_000_000] {
            let (mut count, mut ns, mut samples) = (0, 0, 0);
            // As many as give samples enough of the shortest wait: by chance alone their sum is off by a fiftieth or so.
            let rounds = threshold.max(100_000);
            for _ in 0..rounds {
                for wait in [50, 5_000, 20_000, 1_000_000] {
                    if let Some((switches, time)) = draw_below(wait, threshold, 156, 1) {
                        count += switches;
                        ns += time;
                        samples += 1;
                    }
                }
            }
            let near = |sum: u64, truth: u64| (sum as f64 / truth as f64 - 1.0).abs() < 0.15;
            assert!(near(count, 4 * rounds), "{threshold}: {count} switches of {}", 4 * rounds);
            assert!(near(ns, 1_025_050 * rounds), "{threshold}: {ns} ns of {}", 1_025_050 * rounds);
            assert!(threshold == 1 || samples < 4 * rounds);
        }
    }

    #[test]
    fn the_threshold_rises_with_the_rate_and_falls_again() {
        reset();
        let mut now = LOOK_NS;
        let mut samples = 0;
        // A million waits of a millisecond in a second.
        for _ in 0..1_000_000 {
            now += 1000;
            samples += u64::from(draw(1_000_000, 10_000, now).is_some());
        }
        assert!((PER_SECOND / 2..PER_SECOND * 3).contains(&samples), "{samples} samples");
        now += 1_000_000_000;
        for _ in 0..40 {
            now += LOOK_NS;
            shift(now);
        }
        assert_eq!(shift(now), 0);
    }
}
