//! jemalloc as `heap_profiler!` declares it, or without the feature `heap` a [`Sampler`](stagelight_profiler::Sampler) around
//! libc's allocator, behind one that counts what a signal handler asks of it.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use stagelight_profiler::__testing::sampling;

#[cfg(feature = "heap")]
use jemalloc::INNER;

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

#[global_allocator]
static ALLOCATOR: Watching = Watching;

#[cfg(feature = "heap")]
mod jemalloc {
    use stagelight_profiler::__private::{Conf, Jemalloc, start};

    pub(super) const INNER: Jemalloc = Jemalloc;

    const CONF: Conf =
        Conf::new("prof:true,prof_active:false,disable_large_size_classes:false,lg_prof_sample:16\0");

    // SAFETY: no one else defines these symbols but jemalloc, weakly, for just this use.
    #[unsafe(export_name = "malloc_conf")]
    pub static MALLOC_CONF: Conf = CONF;
    // SAFETY: as above.
    #[unsafe(export_name = "_rjem_malloc_conf")]
    pub static PREFIXED_MALLOC_CONF: Conf = CONF;

    #[used]
    // SAFETY: functions of this type are what the section holds.
    #[unsafe(link_section = ".init_array")]
    static START: extern "C" fn() = start;
}
