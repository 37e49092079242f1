//! What stands for the parts of a lock where the feature `enabled` is off: nothing, in no room and no time.

use std::marker::PhantomData;

/// The part of a lock that tells who holds it. Here the feature `enabled` is off, and it is nothing.
#[derive(Debug, Default)]
pub struct Holder;

impl Holder {
    /// For a lock that nobody holds.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self
    }

    /// The calling thread has taken the lock.
    #[inline(always)]
    pub fn acquired(&self) {}

    /// The calling thread is about to release the lock. What this gives shall be dropped once that is done.
    #[inline(always)]
    pub fn releasing(&self) -> Release {
        Release
    }
}

/// A hold that is ending.
#[must_use = "drop it once the lock is released"]
#[derive(Debug)]
pub struct Release;

/// So that it is dropped where it would be with the feature on.
impl Drop for Release {
    #[inline(always)]
    fn drop(&mut self) {}
}

/// A wait that lasts until this is dropped.
#[must_use = "the wait ends when this is dropped"]
#[derive(Debug)]
pub struct Wait<'a>(PhantomData<(&'a Holder, *const ())>);

impl<'a> Wait<'a> {
    /// Begins to wait for a lock, or, without one, for anything else.
    #[inline(always)]
    pub fn begin(_holder: Option<&'a Holder>) -> Self {
        Self(PhantomData)
    }
}

/// So that it is dropped where it would be with the feature on.
impl Drop for Wait<'_> {
    #[inline(always)]
    fn drop(&mut self) {}
}

/// Calls what blocks.
#[inline(always)]
pub fn waiting<R>(blocking: impl FnOnce() -> R) -> R {
    blocking()
}
