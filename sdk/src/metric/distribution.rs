//! How values spread, as a histogram.

use std::time::Duration;

use super::descriptor::{Descriptor, Shape, handle, with_unit};
use super::slabs;

/// How values spread: rows of a result, bytes of a page, time of an fsync. Shown as a histogram, whose buckets can be
/// added up over processes.
///
/// (It is not called `Histogram` because that is what a snapshot holds of a stage.)
///
/// Values are whole numbers from 0 to 2^64, told apart within 1.6 %. Recording costs some nanoseconds, however many
/// threads record, and 144 bytes a thread and 256 for each power of two that values fall into.
#[derive(Debug)]
pub struct Distribution {
    descriptor: Descriptor,
}

handle!(Distribution, Shape::Distribution);
with_unit!(Distribution);

impl Distribution {
    /// Records one value.
    #[inline]
    pub fn record(&self, value: u64) {
        if slabs::ENABLED {
            slabs::writer().record(self.descriptor.word(), value);
        }
    }

    /// Records a duration in nanoseconds, for a distribution whose unit they are.
    #[inline]
    pub fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}
