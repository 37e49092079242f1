//! Chance enough to be out of step with the workload.

use crate::clock;

/// Xorshift.
pub(super) struct Random(u64);

impl Random {
    /// Begins with the time.
    pub(super) fn new() -> Self {
        Self(clock::monotonic_ns() | 1)
    }

    /// A number from 0 to below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
