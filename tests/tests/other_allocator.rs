//! Where another allocator than jemalloc is the program's, heap profiles say so.
#![cfg(target_os = "linux")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use stagelight_profiler::Error;

/// Hands out what it has and takes nothing back.
struct Bump {
    memory: UnsafeCell<[u8; SIZE]>,
    next: AtomicUsize,
}

const SIZE: usize = 64 << 20;

// SAFETY: no byte is handed out twice.
unsafe impl Sync for Bump {}

// SAFETY: what is handed out lies within the memory, is aligned, and is nobody else's.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.size() + layout.align();
        let start = self.next.fetch_add(room, Ordering::Relaxed);
        if start + room > SIZE {
            return std::ptr::null_mut();
        }
        let memory = self.memory.get().cast::<u8>();
        // SAFETY: within the memory, by the check above.
        unsafe {
            let place = memory.add(start);
            place.add(place.align_offset(layout.align()))
        }
    }

    unsafe fn dealloc(&self, _memory: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static BUMP: Bump = Bump { memory: UnsafeCell::new([0; SIZE]), next: AtomicUsize::new(0) };

#[stagelight::stage(name = "other.stage")]
fn work() {
    drop(std::hint::black_box(vec![1_u8; 1000]));
}

#[test]
fn another_allocator_is_told() {
    // What `heap_profiler!` calls before `main`, in a program whose allocator is another all the same.
    stagelight_profiler::__private::start();
    work();
    let errors = [
        stagelight_profiler::heap().run().map(drop),
        stagelight_profiler::allocs().start().map(drop),
        stagelight_profiler::sample_heap(Some(17)),
    ];
    for error in errors {
        let Err(Error::Unsupported(text)) = error else { panic!("{error:?}") };
        assert!(text.contains("another allocator"), "{text}");
    }
    let snapshot = stagelight::snapshot();
    let stage = snapshot.stage("other.stage").unwrap();
    assert_eq!((stage.calls, stage.alloc_bytes), (1, 0), "jemalloc's counter stands still");
}
