//! Switching the heap's sampling while the program runs.

use super::{tier, window};
use crate::error::Error;

/// Samples that an allocation may be one in so many bytes of, as powers of two.
pub(super) const LG_SAMPLE: std::ops::RangeInclusive<u32> = 10..=30;

/// Samples the heap from now on, on average once in 2^`lg_sample` allocated bytes, or no more with `None`. Needs
/// [`heap_profiler!`](crate::heap_profiler) or a [`Sampler`](crate::Sampler), which begin with 19, 512 KiB.
///
/// With `None` what was sampled stays in profiles until it is freed, and nothing comes to it. Another rate than before makes
/// jemalloc forget what it has sampled, so profiles begin anew; they show since when in
/// [`ProfileStats::started`](crate::ProfileStats::started). While it does, which as a rule takes some milliseconds and at most half a
/// second, threads that free sampled memory wait: jemalloc's own way of doing it can crash the process. A
/// `Sampler` forgets nothing, holds nobody up, and its threads hear of a switch within their next 64 KiB.
///
/// # Errors
/// [`Error::Invalid`] for a rate outside 10 to 30, [`Error::Unsupported`] if the allocator does not sample, with the reason, and
/// [`Error::Busy`] while an allocation profile runs, which needs one rate for all of its time, or if the machine
/// is too busy for another rate to be set safely.
pub fn sample_heap(lg_sample: Option<u32>) -> Result<(), Error> {
    let tier = tier::active().map_err(Error::Unsupported)?;
    let _no_window = window::none_open()?;
    if let Some(lg_sample) = lg_sample
        && !LG_SAMPLE.contains(&lg_sample)
    {
        let (least, most) = (LG_SAMPLE.start(), LG_SAMPLE.end());
        return Err(Error::Invalid(format!(
            "a heap sample in 2^{lg_sample} bytes: it must be 2^{least} to 2^{most}"
        )));
    }
    tier.set(lg_sample)
}
