//! jemalloc as `heap_profiler!` declares it, behind an allocator that counts what a signal handler asks of it.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use stagelight_profiler::__private::{Conf, Jemalloc, start};
use stagelight_profiler::__testing::sampling;

/// Calls of the allocator, frees too, by a thread that was taking a sample.
pub(crate) static IN_HANDLER: AtomicU64 = AtomicU64::new(0);

struct Watching;

fn watch() {
    if sampling() {
        IN_HANDLER.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to jemalloc as it came.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch();
        // SAFETY: by the caller's promise.
        unsafe { Jemalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        watch();
        // SAFETY: by the caller's promise.
        unsafe { Jemalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        watch();
        // SAFETY: by the caller's promise.
        unsafe { Jemalloc.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        watch();
        // SAFETY: by the caller's promise.
        unsafe { Jemalloc.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

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
