//! jemalloc as `heap_profiler!` declares it, or without the feature `heap` a [`Sampler`](stagelight_profiler::Sampler) around
//! libc's allocator, behind one that counts what a signal handler asks of it.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use stagelight_profiler::__testing::sampling;

#[cfg(feature = "heap")]
use stagelight_profiler::__private::Jemalloc as INNER;

#[cfg(not(feature = "heap"))]
const INNER: stagelight_profiler::Sampler<std::alloc::System> =
    stagelight_profiler::Sampler::with_rate(std::alloc::System, None);

/// Calls of the allocator, frees too, by a thread that was taking a sample.
pub(crate) static IN_HANDLER: AtomicU64 = AtomicU64::new(0);

struct Watching;

fn watch() {
    if sampling() {
        IN_HANDLER.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch();
        // SAFETY: by the caller's promise.
        unsafe { INNER.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        watch();
        // SAFETY: by the caller's promise.
        unsafe { INNER.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        watch();
        // SAFETY: by the caller's promise.
        unsafe { INNER.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        watch();
        // SAFETY: by the caller's promise.
        unsafe { INNER.realloc(memory, layout, size) }
    }
}

#[cfg(feature = "heap")]
stagelight_profiler::heap_profiler!(@around Watching, 16);

#[cfg(not(feature = "heap"))]
#[global_allocator]
static ALLOCATOR: Watching = Watching;
