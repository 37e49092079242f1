//! Switching the heap's sampling while the program runs.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::{activation, jemalloc, reset, window};
use crate::error::Error;

/// Since when there are samples, if not since the start.
static SINCE: Mutex<Option<SystemTime>> = Mutex::new(None);

/// Samples that an allocation may be one in so many bytes of, as powers of two.
const LG_SAMPLE: std::ops::RangeInclusive<u32> = 10..=30;

/// Samples the heap from now on, on average once in 2^`lg_sample` allocated bytes, or no more with `None`. Needs
/// [`heap_profiler!`](crate::heap_profiler), which begins with 19, 512 KiB.
///
/// With `None` what was sampled stays in profiles until it is freed, and nothing comes to it. Another rate than before makes
/// jemalloc forget what it has sampled, so profiles begin anew; they show since when in
/// [`ProfileStats::started`](crate::ProfileStats::started). While it does, which as a rule takes some milliseconds and at most half a
/// second, threads that free sampled memory wait: jemalloc's own way of doing it can crash the process.
///
/// # Errors
/// [`Error::Invalid`] for a rate outside 10 to 30, [`Error::Unsupported`] if the allocator does not sample, with the reason, and
/// [`Error::Busy`] while an allocation profile runs, which needs one rate for all of its time, or if the machine
/// is too busy for another rate to be set safely.
pub fn sample_heap(lg_sample: Option<u32>) -> Result<(), Error> {
    activation::active().map_err(Error::Unsupported)?;
    let _no_window = window::none_open()?;
    let refused = |what: &'static str| move |error: String| Error::Unsupported(format!("{what}: {error}"));
    let Some(lg_sample) = lg_sample else {
        // SAFETY: the manual gives `bool`.
        return unsafe { jemalloc::write(c"prof.active", false) }.map_err(refused("prof.active"));
    };
    if !LG_SAMPLE.contains(&lg_sample) {
        let (least, most) = (LG_SAMPLE.start(), LG_SAMPLE.end());
        return Err(Error::Invalid(format!(
            "a heap sample in 2^{lg_sample} bytes: it must be 2^{least} to 2^{most}"
        )));
    }
    let mut since = SINCE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the manual gives `size_t` for both rates and `bool` for whether it is active.
    unsafe {
        if jemalloc::read::<usize>(c"prof.lg_sample") != Ok(lg_sample as usize) {
            reset::reset(lg_sample as usize)?;
            *since = Some(SystemTime::now());
        }
        jemalloc::write(c"prof.active", true).map_err(refused("prof.active"))
    }
}

/// Since when there are samples, which at first were from `start` on.
pub(super) fn since(start: SystemTime) -> SystemTime {
    SINCE.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(start)
}
