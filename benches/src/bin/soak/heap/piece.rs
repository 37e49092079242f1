//! Memory that is made, resized and freed by hand.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::sync::atomic::{AtomicU64, Ordering};

/// Resized pieces that got another size where they were.
pub(crate) static IN_PLACE: AtomicU64 = AtomicU64::new(0);

/// Those that had to move.
pub(crate) static MOVED: AtomicU64 = AtomicU64::new(0);

/// A piece of memory that any thread may free.
pub(crate) struct Piece {
    memory: *mut u8,
    layout: Layout,
}

// SAFETY: a piece owns its memory.
unsafe impl Send for Piece {}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size.max(1), 8).unwrap_or(Layout::new::<u64>())
}

impl Piece {
    pub(crate) fn new(size: usize) -> Self {
        let layout = layout(size);
        // SAFETY: the size is not 0.
        let memory = unsafe { alloc(layout) };
        if memory.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: the first of at least one byte.
        unsafe { memory.write(1) };
        Self { memory, layout }
    }

    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }

    pub(crate) fn resize(&mut self, size: usize) {
        let (before, layout) = (self.usable(), layout(size));
        // SAFETY: the memory was allocated by this layout, and the new size is not 0.
        let memory = unsafe { realloc(self.memory, self.layout, layout.size()) };
        if memory.is_null() {
            handle_alloc_error(layout);
        }
        let stayed = memory == self.memory;
        (self.memory, self.layout) = (memory, layout);
        if !stayed {
            MOVED.fetch_add(1, Ordering::Relaxed);
        } else if self.usable() != before {
            IN_PLACE.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What counts for it: what jemalloc set aside, or what was asked for.
    pub(crate) fn usable(&self) -> u64 {
        if cfg!(feature = "heap") {
            // SAFETY: the memory is allocated.
            unsafe { libc::malloc_usable_size(self.memory.cast()) as u64 }
        } else {
            self.layout.size() as u64
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: the memory was allocated by this layout.
        unsafe { dealloc(self.memory, self.layout) };
    }
}
