//! Counters with one writer: relaxed loads and stores where a shared counter would need a locked
//! instruction.
//!
//! Only the thread that owns the block adds to them; any thread may read at any time and sees some past
//! value, never a torn one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A 64-bit counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Cell64(AtomicU64);

impl Cell64 {
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Owner only.
    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Owner only: a plain load, add and store.
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    /// Owner only: whoever sees the value by [`seen`](Self::seen) sees what was written before it.
    #[inline(always)]
    pub(crate) fn publish(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    #[inline(always)]
    pub(crate) fn seen(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Owner only.
    #[inline(always)]
    pub(crate) fn raise_to(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }
}

/// A 32-bit counter that one thread writes and any thread reads.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct Cell32(AtomicU32);

impl Cell32 {
    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Owner only.
    #[inline(always)]
    pub(crate) fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }
}
