//! The loads of `--bin heap`, by calls of an allocator: W1, 64 bytes at a time; W2, 16 to 4,095 bytes, log-uniform, in a ring of
//! 4,096, at a depth of 24 calls.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;

use stagelight::query;
use stagelight_benches::cpu_time::thread_ns;
use stagelight_benches::sizes::{RING, log_uniform};

const PAIRS: u32 = 2_000_000;

#[query(key = "bench", tenant = "acme")]
pub fn in_query<R>(work: impl FnOnce() -> R) -> R {
    work()
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size.max(1), 8).unwrap_or(Layout::new::<u64>())
}

#[inline(never)]
pub fn small(allocator: &impl GlobalAlloc) -> f64 {
    let start = thread_ns();
    for _ in 0..PAIRS {
        let layout = black_box(layout(64));
        // SAFETY: the size is not 0, and what is allocated is freed once.
        unsafe { allocator.dealloc(black_box(allocator.alloc(layout)), layout) };
    }
    (thread_ns() - start) / f64::from(PAIRS)
}

/// At so many calls below.
#[inline(never)]
pub fn deep<A: GlobalAlloc>(allocator: &A, left: u32) -> f64 {
    let room = black_box([left; 5]);
    let ns = if left == 0 { mixed(allocator) } else { deep(allocator, left - 1) };
    black_box(room);
    ns
}

fn mixed(allocator: &impl GlobalAlloc) -> f64 {
    let layouts = log_uniform().map(layout);
    // SAFETY: the size is not 0.
    let mut ring: Vec<(*mut u8, Layout)> =
        layouts.iter().map(|&layout| (unsafe { allocator.alloc(layout) }, layout)).collect();
    let start = thread_ns();
    for pair in 0..PAIRS as usize {
        let (place, layout) = (&mut ring[pair * 7 % RING], layouts[pair % RING]);
        // SAFETY: what stood in the place is freed once, and the size is not 0.
        unsafe {
            allocator.dealloc(place.0, place.1);
            *place = (black_box(allocator.alloc(layout)), layout);
        }
    }
    let ns = (thread_ns() - start) / f64::from(PAIRS);
    for (memory, layout) in ring {
        // SAFETY: it is freed once.
        unsafe { allocator.dealloc(memory, layout) };
    }
    ns
}
