//! What goes up and down by steps.

use super::descriptor::{Descriptor, Shape, handle, with_unit};
use super::slabs;

/// A level that threads move up and down by whole steps: open connections, queued jobs, bytes in use. Shown as a gauge.
///
/// Unlike a [`Gauge`](super::Gauge) it can't be set, and so it costs what a [`Counter`](super::Counter) does: about a
/// nanosecond, however many threads move it. What one thread took up another may take down.
#[derive(Debug)]
pub struct UpDownCounter {
    descriptor: Descriptor,
}

handle!(UpDownCounter, Shape::UpDownCounter);
with_unit!(UpDownCounter);

impl UpDownCounter {
    /// Moves the level by `n`, which may be negative.
    #[inline]
    pub fn add(&self, n: i64) {
        if slabs::ENABLED {
            // Two's complement: the sum over threads wraps to the right level.
            slabs::writer().add(self.descriptor.word(), n as u64);
        }
    }

    /// One up.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// One down.
    #[inline]
    pub fn dec(&self) {
        self.add(-1);
    }
}
