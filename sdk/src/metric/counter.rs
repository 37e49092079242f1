//! What only grows.

use super::descriptor::{Descriptor, Shape, handle, with_unit};
use super::slabs;

/// A count that only grows: rows read, bytes written, cache hits. By convention its name ends in `_total`.
///
/// Adding costs about a nanosecond, however many threads add to the same counter. Sums are exact, and wrap at 2^64.
#[derive(Debug)]
pub struct Counter {
    descriptor: Descriptor,
}

handle!(Counter, Shape::Counter);
with_unit!(Counter);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        if slabs::ENABLED {
            slabs::writer().add(self.descriptor.word(), n);
        }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }
}
