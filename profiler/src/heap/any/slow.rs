//! What an allocation goes through that may be sampled, and a release or a change of size of what may have been.

use std::alloc::{GlobalAlloc, Layout};

use super::fast::{LARGE, PAGE, may_be_sampled};
use super::sample::{self, LIVE};
use super::{Sampler, activation, thread};

/// The layout by which a sample is asked for: one that may be told from others when it is freed.
fn marked(layout: Layout) -> Layout {
    if layout.size() >= LARGE || layout.align() >= PAGE {
        return layout;
    }
    // It fits: the size is small.
    Layout::from_size_align(layout.size(), PAGE).unwrap_or(layout)
}

fn is_marked(layout: Layout) -> bool {
    marked(layout) != layout
}

impl<A: GlobalAlloc> Sampler<A> {
    /// # Safety
    /// As `GlobalAlloc::alloc`; the bytes are counted.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn alloc_slowly(&self, layout: Layout, zeroed: bool) -> *mut u8 {
        activation::note::<A>(self.lg_sample);
        // SAFETY: by the caller's promise.
        unsafe {
            match thread::is_sample(layout.size()) {
                Some(rate) => self.sample(layout, zeroed, rate),
                None => self.plain(layout, zeroed),
            }
        }
    }

    /// # Safety
    /// As `GlobalAlloc::dealloc`.
    #[inline(never)]
    pub(super) unsafe fn dealloc_slowly(&self, memory: *mut u8, layout: Layout) {
        let found = LIVE.find(memory.addr()).map(|place| LIVE.take(place));
        let layout = if found.is_some() { marked(layout) } else { layout };
        // SAFETY: by the caller's promise. What is found was asked for by the marked layout, all else by the caller's.
        unsafe { self.inner.dealloc(memory, layout) }
    }

    /// # Safety
    /// As `GlobalAlloc::realloc`; the bytes are counted, and `due` is what counting said.
    #[inline(never)]
    pub(super) unsafe fn realloc_slowly(
        &self,
        memory: *mut u8,
        layout: Layout,
        size: usize,
        due: bool,
    ) -> *mut u8 {
        // SAFETY: by the caller's promise the size does not overflow when it is rounded up to the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // By chance alone, whether it was sampled before or not: a piece of some size must be a sample with a chance that this
        // size says.
        let mut rate = if due { thread::is_sample(size) } else { None };
        let place = if may_be_sampled(memory, layout.size()) { LIVE.find(memory.addr()) } else { None };
        let was_marked = place.is_some() && is_marked(layout);
        if was_marked || rate.is_some() && is_marked(new_layout) {
            // SAFETY: by the caller's promise. The memory is as large as its layout says, and the new one as its own; it was
            // just allocated, so they don't overlap; the old one is given back once.
            unsafe {
                let new = match rate {
                    Some(rate) => self.sample(new_layout, false, rate),
                    None => self.plain(new_layout, false),
                };
                if !new.is_null() {
                    std::ptr::copy_nonoverlapping(memory, new, layout.size().min(size));
                    self.dealloc_slowly(memory, layout);
                    return new;
                }
            }
            if was_marked {
                return std::ptr::null_mut();
            }
            // There may be room where it lies.
            rate = None;
        }
        // As soon as it has moved, its place may be another's.
        let former = place.map(|place| LIVE.take(place));
        // SAFETY: by the caller's promise; it is not marked.
        let new = unsafe { self.inner.realloc(memory, layout, size) };
        let now = match rate {
            // It is still what it was. That nothing is lost if it finds no room again: it is not marked.
            _ if new.is_null() => former.map(|former| (memory, former)),
            Some(rate) => Some((new, sample::take(size, rate))),
            None => None,
        };
        if let Some((memory, sample)) = now
            && !LIVE.insert(memory.addr(), sample)
        {
            LIVE.refuse();
        }
        new
    }

    /// # Safety
    /// As `GlobalAlloc::alloc`.
    unsafe fn plain(&self, layout: Layout, zeroed: bool) -> *mut u8 {
        // SAFETY: by the caller's promise.
        unsafe { if zeroed { self.inner.alloc_zeroed(layout) } else { self.inner.alloc(layout) } }
    }

    /// Allocates what is a sample.
    ///
    /// # Safety
    /// As `GlobalAlloc::alloc`.
    unsafe fn sample(&self, layout: Layout, zeroed: bool, rate: u32) -> *mut u8 {
        let marked = marked(layout);
        // SAFETY: by the caller's promise; a marked layout is as large. What goes back was allocated by this layout, and nobody
        // else knows of it.
        unsafe {
            let memory = self.plain(marked, zeroed);
            if !memory.is_null() {
                if LIVE.insert(memory.addr(), sample::take(layout.size(), rate)) {
                    return memory;
                }
                LIVE.refuse();
            }
            if marked == layout {
                return memory;
            }
            // What can't be recognised must not be marked.
            if !memory.is_null() {
                self.inner.dealloc(memory, marked);
            }
            self.plain(layout, zeroed)
        }
    }
}
