//! The allocators that sample, behind one face: all else here asks which of them is in use and not how it works.

use std::time::SystemTime;

use super::live::Found;
use crate::error::Error;

/// How often an allocator samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Average bytes between samples.
    pub(super) interval: u64,
    /// Whether it samples at present.
    pub(super) on: bool,
}

/// Why there is nothing to be told.
pub(super) const SWITCHED_OFF: &str = "sampling is switched off, by `sample_heap`";

/// An allocator that samples.
pub(super) trait Tier: Sync {
    /// As profiles and the status name it, and what takes the stacks.
    fn name(&self) -> String;

    /// What its samples lack, `labels` or `stacks`, and why, if they do.
    fn lacks(&self) -> Option<(&'static str, &str)>;

    /// Since when there are samples; `None` if there never were.
    fn since(&self) -> Option<SystemTime>;

    fn rate(&self) -> Result<Rate, String>;

    /// Samples once in so many bytes from now on, a power of two from 10 to 30, or no more. No window is open.
    fn set(&self, lg_sample: Option<u32>) -> Result<(), Error>;

    /// Its live samples.
    fn live(&self) -> Result<Found, Error>;

    /// Whether [`told`](super::told) hears of each sample.
    fn tell(&self, whether: bool) -> Result<(), String>;

    /// Samples nothing more of what the calling thread allocates. If that can't be had, it does.
    fn leave_out_this_thread(&self);
}

/// The one that is in use, or why none is.
pub(super) fn active() -> Result<&'static dyn Tier, String> {
    #[cfg(feature = "heap")]
    let jemalloc = super::jemalloc::activation::active();
    #[cfg(not(feature = "heap"))]
    let jemalloc: Option<Result<&dyn Tier, String>> = None;
    if let Some(Ok(jemalloc)) = jemalloc {
        return Ok(jemalloc);
    }
    match (super::any::activation::active(), jemalloc) {
        (Some(any), _) => Ok(any),
        (None, Some(Err(reason))) => Err(reason),
        (None, _) if cfg!(feature = "heap") => Err("the program declares neither `stagelight_profiler::heap_profiler!()` nor \
             a `stagelight_profiler::Sampler` as its allocator"
            .into()),
        (None, _) => Err("the program does not declare a `stagelight_profiler::Sampler` as its allocator, and the feature \
             `heap` of stagelight-profiler, which brings one that samples, is off"
            .into()),
    }
}
