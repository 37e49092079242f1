//! Memory that is made, resized and freed by hand, and knows what should be in it.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};

pub(crate) struct Piece {
    memory: *mut u8,
    layout: Layout,
    mark: u8,
}

// SAFETY: a piece owns its memory.
unsafe impl Send for Piece {}

impl Piece {
    pub(crate) fn new(size: usize) -> Self {
        Self::with(size, 8, false, 0xa5)
    }

    /// Checks that it is aligned, and zeroed if it should be.
    pub(crate) fn with(size: usize, align: usize, zeroed: bool, mark: u8) -> Self {
        let layout = Layout::from_size_align(size, align).unwrap();
        // SAFETY: the size is not 0.
        let memory = unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
        assert!(!memory.is_null() && memory.addr().is_multiple_of(align));
        let mut piece = Self { memory, layout, mark };
        assert!(!zeroed || piece.bytes().iter().all(|&byte| byte == 0));
        piece.sign(0);
        piece
    }

    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the memory is this large, and written to as it was allocated.
        unsafe { std::slice::from_raw_parts_mut(self.memory, self.layout.size()) }
    }

    /// Writes to its bytes from a place on.
    fn sign(&mut self, from: usize) {
        let mark = self.mark;
        let bytes = &mut self.bytes()[from..];
        bytes.fill(mark);
    }

    fn check(&mut self, up_to: usize) {
        let mark = self.mark;
        assert!(self.bytes()[..up_to].iter().all(|&byte| byte == mark), "its bytes are as they were");
    }

    pub(crate) fn resize(&mut self, size: usize) {
        let before = self.layout.size();
        // SAFETY: the memory was allocated by this layout, and the size is not 0.
        self.memory = unsafe { realloc(self.memory, self.layout, size) };
        assert!(!self.memory.is_null() && self.memory.addr().is_multiple_of(self.layout.align()));
        self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        self.check(before.min(size));
        self.sign(before.min(size));
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.check(self.layout.size());
        // SAFETY: the memory was allocated by this layout.
        unsafe { dealloc(self.memory, self.layout) };
    }
}

/// Random numbers of the test's own.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Sizes from 16 B to 128 KiB, log-uniform.
    pub(crate) fn size(&mut self) -> usize {
        (16 << self.below(13)) + self.below(16) as usize
    }
}
