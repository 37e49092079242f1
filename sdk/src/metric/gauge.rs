//! What is set.

use super::descriptor::{Descriptor, Shape, handle, with_unit};
use super::{slab, slabs};

/// A value that is set: a temperature, a ratio, the size of a pool. 0 until then.
///
/// The last `set` of any thread wins, so all threads write to one place. `set` is a plain store; `add` is a locked
/// instruction, and slows where several threads do it at once: [`UpDownCounter`](super::UpDownCounter) doesn't.
#[derive(Debug)]
pub struct Gauge {
    descriptor: Descriptor,
}

handle!(Gauge, Shape::Gauge);
with_unit!(Gauge);

impl Gauge {
    /// Sets the value.
    #[inline]
    pub fn set(&self, value: f64) {
        if slabs::ENABLED {
            slab::SHARED.set(self.descriptor.word(), value.to_bits());
        }
    }

    /// Adds to the value; `n` may be negative.
    #[inline]
    pub fn add(&self, n: f64) {
        if slabs::ENABLED {
            slabs::shared().add_f64(self.descriptor.word(), n);
        }
    }
}
