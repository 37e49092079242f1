//! Where a window hears of each sampled allocation.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::armed::Armed;
use crate::ring::Ring;

/// Addresses of a stack with its pseudo-frame. As many as jemalloc gives, unless told otherwise by `prof_bt_max`.
pub(super) const MAX_FRAMES: usize = 128;

/// One sampled allocation.
pub(super) struct Allocation {
    /// What it counts as.
    bytes: usize,
    depth: usize,
    frames: [u64; MAX_FRAMES],
}

/// What is written to while a window runs.
pub(super) struct Samples {
    ring: Ring<Allocation>,
    /// Samples that found no place in it.
    full: AtomicU64,
}

static SAMPLES: Armed<Samples> = Armed::new();

impl Samples {
    pub(super) fn new(slots: usize) -> Self {
        let empty = || Allocation { bytes: 0, depth: 0, frames: [0; MAX_FRAMES] };
        Self { ring: Ring::new(slots, empty), full: AtomicU64::new(0) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.ring.bytes()
    }

    /// Takes all that there are: stack, with the pseudo-frame at its end, and bytes.
    pub(super) fn take_all(&self, mut take: impl FnMut(&[u64], usize)) {
        while self.ring.pop(|sample| take(&sample.frames[..sample.depth], sample.bytes)) {}
    }

    pub(super) fn refused(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }
}

/// Has sampled allocations written there from now on.
pub(super) fn begin(samples: Samples) {
    SAMPLES.arm(Box::new(samples));
}

/// Looks at what was written.
pub(super) fn look(look: impl FnOnce(&Samples)) {
    SAMPLES.with(look);
}

/// Ends it.
pub(super) fn end(last_look: impl FnOnce(&Samples)) {
    SAMPLES.disarm(last_look);
}

/// Notes an allocation by its stack with the pseudo-frame, if a window runs.
///
/// Called within allocators: it allocates nothing and waits for nobody.
pub(super) fn tell(stack: &[u64], bytes: usize) {
    SAMPLES.with(|samples| {
        let written = samples.ring.push(|sample| {
            sample.bytes = bytes;
            sample.depth = stack.len().min(MAX_FRAMES);
            sample.frames[..sample.depth].copy_from_slice(&stack[..sample.depth]);
            // The outermost says what the thread was in.
            if let (Some(last), Some(&context)) = (sample.frames[..sample.depth].last_mut(), stack.last()) {
                *last = context;
            }
        });
        if !written {
            samples.full.fetch_add(1, Ordering::Relaxed);
        }
    });
}
