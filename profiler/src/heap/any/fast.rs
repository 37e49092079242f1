//! What every allocation and release goes through: an addition and a comparison each.
//!
//! # Why this is sound
//! The inner allocator gets each piece of memory back by the layout that it was asked for it by. That is the caller's own, but
//! for **marked** samples, which were asked for by a stricter alignment. Three things hold of these:
//!
//! 1. Whoever frees or grows one looks it up: it is aligned to a page ([`may_be_sampled`]).
//! 2. It is in the table from before the caller is given it until just before the inner allocator gets it back. If the table has no
//!    room, it goes back at once, and the caller is given memory that is not marked.
//! 3. Nothing else is ever found by its address: an entry is taken out before its memory is given back, so when another piece
//!    comes to lie there, no entry is left. Who frees a piece has been handed it, so it sees what was done to the table before.
//!
//! That a sample was taken changes nothing else of it; so samples that are large or strictly aligned by themselves are not marked,
//! and nothing depends on their entries but the sums.

use std::alloc::{GlobalAlloc, Layout};

use super::Sampler;
use super::thread;

pub(super) const PAGE: usize = 4096;

/// What is this large is looked up whatever its alignment, and not marked: to move it, as growing a marked piece takes, would be
/// dear.
pub(super) const LARGE: usize = 64 << 10;

/// Whether a piece of memory is to be looked up.
#[inline(always)]
pub(super) fn may_be_sampled(memory: *mut u8, size: usize) -> bool {
    memory.addr().is_multiple_of(PAGE) || size >= LARGE
}

// SAFETY: what is given is memory of the inner allocator's, asked for by the caller's layout or by one that is as large and aligned
// more strictly, and goes back by the layout that it was asked for by, as said above.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Sampler<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if thread::count(layout.size()) {
            // SAFETY: by the caller's promise.
            return unsafe { self.alloc_slowly(layout, false) };
        }
        // SAFETY: by the caller's promise.
        unsafe { self.inner.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if thread::count(layout.size()) {
            // SAFETY: by the caller's promise.
            return unsafe { self.alloc_slowly(layout, true) };
        }
        // SAFETY: by the caller's promise.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if may_be_sampled(memory, layout.size()) {
            // SAFETY: by the caller's promise.
            return unsafe { self.dealloc_slowly(memory, layout) };
        }
        // SAFETY: by the caller's promise; it is no marked sample.
        unsafe { self.inner.dealloc(memory, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let due = thread::count(size);
        if due || may_be_sampled(memory, layout.size()) {
            // SAFETY: by the caller's promise.
            return unsafe { self.realloc_slowly(memory, layout, size, due) };
        }
        // SAFETY: by the caller's promise; it is no marked sample.
        unsafe { self.inner.realloc(memory, layout, size) }
    }
}
