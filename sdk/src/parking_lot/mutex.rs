//! A mutex that knows who holds it.

use std::mem;
use std::time::{Duration, Instant};

use crate::lock::{Holder, contended};

/// A drop-in for `parking_lot::Mutex`: it doesn't poison, and 24 bytes larger.
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;

/// The right to what a [`Mutex`] guards.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;

/// The right to a part of what a [`Mutex`] guards.
pub type MappedMutexGuard<'a, T> = lock_api::MappedMutexGuard<'a, RawMutex, T>;

/// A [`Mutex`] in a constant; `Mutex::new` is one as well.
pub const fn const_mutex<T>(value: T) -> Mutex<T> {
    Mutex::const_new(<RawMutex as lock_api::RawMutex>::INIT, value)
}

/// `parking_lot`'s, with a word for who holds it.
#[derive(Debug)]
pub struct RawMutex {
    /// A whole mutex of nothing, since condition variables take its guards.
    pub(super) inner: ::parking_lot::Mutex<()>,
    pub(super) holder: Holder,
}

impl RawMutex {
    #[inline]
    fn try_inner(&self) -> bool {
        // The guard is what `unlock` makes up for.
        self.inner.try_lock().map(mem::forget).is_some()
    }

    #[inline]
    fn noted(&self, taken: bool) -> bool {
        if taken {
            self.holder.acquired();
        }
        taken
    }
}

// SAFETY: the inner mutex excludes, and is locked and unlocked just when this is.
unsafe impl lock_api::RawMutex for RawMutex {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait's way to make one")]
    const INIT: Self = Self { inner: ::parking_lot::const_mutex(()), holder: Holder::new() };

    type GuardMarker = <::parking_lot::RawMutex as lock_api::RawMutex>::GuardMarker;

    #[inline]
    fn lock(&self) {
        if !self.try_inner() {
            contended(&self.holder, || self.try_inner().then_some(()), || mem::forget(self.inner.lock()));
        }
        self.holder.acquired();
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.noted(self.try_inner())
    }

    #[inline]
    unsafe fn unlock(&self) {
        let made_wait = self.holder.releasing();
        // SAFETY: by the caller's promise it is locked, and its guard was forgotten.
        unsafe { self.inner.force_unlock() };
        drop(made_wait);
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawMutexFair for RawMutex {
    #[inline]
    unsafe fn unlock_fair(&self) {
        let made_wait = self.holder.releasing();
        // SAFETY: by the caller's promise it is locked, and its guard was forgotten.
        unsafe { self.inner.force_unlock_fair() };
        drop(made_wait);
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawMutexTimed for RawMutex {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_for(&self, timeout: Duration) -> bool {
        let lock = || self.inner.try_lock_for(timeout).map(mem::forget).is_some();
        self.noted(self.try_inner() || contended(&self.holder, || self.try_inner().then_some(true), lock))
    }

    fn try_lock_until(&self, timeout: Instant) -> bool {
        let lock = || self.inner.try_lock_until(timeout).map(mem::forget).is_some();
        self.noted(self.try_inner() || contended(&self.holder, || self.try_inner().then_some(true), lock))
    }
}
