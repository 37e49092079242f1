//! How values spread, as quantiles.

use std::time::Duration;

use super::descriptor::{Descriptor, Shape, handle, with_unit};
use super::slabs;

/// How values spread, shown as the quantiles 0.5, 0.95, 0.99 and 0.999 of all values since the process started.
///
/// It records what a [`Distribution`](super::Distribution) does, at the same price. Its five series are fewer than a
/// histogram's and its quantiles closer, within 1.6 %, but quantiles can't be added up over processes.
#[derive(Debug)]
pub struct Summary {
    descriptor: Descriptor,
}

handle!(Summary, Shape::Summary);
with_unit!(Summary);

impl Summary {
    /// Records one value.
    #[inline]
    pub fn record(&self, value: u64) {
        if slabs::ENABLED {
            slabs::writer().record(self.descriptor.word(), value);
        }
    }

    /// Records a duration in nanoseconds, for a summary whose unit they are.
    #[inline]
    pub fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}
