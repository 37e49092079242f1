//! How many wait and since when, in one word.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bits that count. The rest is the sum of the moments, which wraps after 78 hours of waiting.
const COUNT_BITS: u32 = 16;
const MOST: u64 = (1 << COUNT_BITS) - 1;

/// Those who wait at one place.
#[derive(Debug, Default)]
pub struct Queue(AtomicU64);

impl Queue {
    /// Someone waits since a moment. `false` if 65,535 do, and this one is not counted.
    #[must_use]
    pub fn enter(&self, since: u64) -> bool {
        let enter = |queue: u64| (queue & MOST < MOST).then(|| queue.wrapping_add(word(since)));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).is_ok()
    }

    /// Someone who entered waits no more.
    pub fn leave(&self, since: u64) {
        self.0.fetch_sub(word(since), Ordering::Relaxed);
    }

    /// How many wait at a moment, and the sum of how long in nanoseconds.
    #[must_use]
    pub fn waiting(&self, now: u64) -> (u64, u64) {
        let queue = self.0.load(Ordering::Relaxed);
        let count = queue & MOST;
        // The difference of two sums that wrap.
        let sum = (count.wrapping_mul(now) << COUNT_BITS).wrapping_sub(queue & !MOST);
        (count, (sum as i64 >> COUNT_BITS).max(0).unsigned_abs())
    }
}

/// One that waits since then.
fn word(since: u64) -> u64 {
    (since << COUNT_BITS).wrapping_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_waits_since_it_came() {
        let queue = Queue::default();
        // Near where the sum of moments wraps.
        for base in [1_000, (1 << 48) - 10_000, u64::MAX >> 8] {
            for since in [0, 10, 70] {
                assert!(queue.enter(base + since));
            }
            assert_eq!(queue.waiting(base + 100), (3, 100 + 90 + 30));
            queue.leave(base + 10);
            assert_eq!(queue.waiting(base + 200), (2, 200 + 130));
            queue.leave(base);
            queue.leave(base + 70);
            assert_eq!(queue.waiting(base + 300), (0, 0));
        }
    }
}
