//! What the signal handlers write for the thread that drains.

use crate::profile::Context;

/// Frames a sample holds. What is deeper is cut and counts as incomplete.
pub(super) const MAX_FRAMES: usize = 250;

/// One sample, as the handler takes it.
pub(super) struct Sample {
    pub(super) context: Context,
    /// Events that the sample stands for, itself included.
    pub(super) count: u64,
    /// Nanoseconds that the sample stands for: of CPU time, of waiting or of wall clock.
    pub(super) weight: u64,
    /// How much of it was the kernel's.
    pub(super) kernel: u64,
    /// How many of the innermost frames are of that part alone.
    pub(super) kernel_frames: usize,
    /// Whether the walk reached the thread's start.
    pub(super) complete: bool,
    pub(super) depth: usize,
    pub(super) frames: [u64; MAX_FRAMES],
}

pub(super) type Ring = crate::ring::Ring<Sample>;

impl Sample {
    /// One of nothing.
    pub(super) fn empty() -> Self {
        Self {
            context: Context::default(),
            count: 0,
            weight: 0,
            kernel: 0,
            kernel_frames: 0,
            complete: false,
            depth: 0,
            frames: [0; MAX_FRAMES],
        }
    }
}

/// A ring of at least that many samples.
pub(super) fn new(slots: usize) -> Ring {
    Ring::new(slots, Sample::empty)
}
