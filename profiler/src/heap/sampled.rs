//! What jemalloc calls once it has sampled an allocation and noted its stack.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::jemalloc;
use crate::armed::Armed;
use crate::ring::Ring;

/// Its type, as `experimental.hooks.prof_sample` takes it: address, size asked for, stack and its depth, size given.
type Hook = unsafe extern "C" fn(*const c_void, usize, *const *const c_void, c_uint, usize);

/// As many as jemalloc gives, unless told otherwise by `prof_bt_max`.
const MAX_FRAMES: usize = 128;

/// One sampled allocation.
pub(super) struct Allocation {
    /// What the allocator set aside.
    bytes: usize,
    depth: usize,
    frames: [u64; MAX_FRAMES],
}

/// What the hook writes to while a window runs.
pub(super) struct Samples {
    ring: Ring<Allocation>,
    /// Samples that found no place in it.
    full: AtomicU64,
}

static SAMPLES: Armed<Samples> = Armed::new();

/// The size of the last allocation that the hook was called for.
static LAST_BYTES: AtomicUsize = AtomicUsize::new(0);

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
pub(super) fn start(samples: Samples) -> Result<(), String> {
    SAMPLES.arm(Box::new(samples));
    set(Some(hook)).inspect_err(|_| SAMPLES.disarm(|_| ()))
}

/// Looks at what was written.
pub(super) fn look(look: impl FnOnce(&Samples)) {
    SAMPLES.with(look);
}

/// Ends it.
pub(super) fn stop(last_look: impl FnOnce(&Samples)) {
    // If jemalloc will not let go of the hook, it finds nothing to write to.
    let _ = set(None);
    SAMPLES.disarm(last_look);
}

/// The interface is experimental: sees that a sampled allocation is told of, with its size.
pub(super) fn test() -> Result<(), String> {
    // SAFETY: jemalloc 5.3 gives this name the type of `Hook`, or null.
    if unsafe { jemalloc::read::<Option<Hook>>(c"experimental.hooks.prof_sample") }?.is_some() {
        return Err("the program has a hook of its own for what jemalloc samples".into());
    }
    set(Some(hook))?;
    let size = jemalloc::sample();
    set(None)?;
    let seen = LAST_BYTES.load(Ordering::Relaxed);
    match size? {
        size if size == seen => Ok(()),
        size => Err(format!("jemalloc sampled an allocation of {size} bytes and told of {seen}")),
    }
}

fn set(hook: Option<Hook>) -> Result<(), String> {
    // SAFETY: jemalloc 5.3 gives this name the type of `Hook`, or null for none; `test` looks whether it is called so.
    unsafe { jemalloc::write(c"experimental.hooks.prof_sample", hook) }
}

/// Notes the allocation, if a window runs.
///
/// Runs within `malloc`: it allocates nothing and waits for nobody.
///
/// # Safety
/// `frames` points to `depth` addresses.
unsafe extern "C" fn hook(
    _address: *const c_void,
    _asked: usize,
    frames: *const *const c_void,
    depth: c_uint,
    bytes: usize,
) {
    LAST_BYTES.store(bytes, Ordering::Relaxed);
    SAMPLES.with(|samples| {
        // SAFETY: by the caller's promise; an address and a `u64` are the same here.
        let stack = unsafe { std::slice::from_raw_parts(frames.cast::<u64>(), depth as usize) };
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
