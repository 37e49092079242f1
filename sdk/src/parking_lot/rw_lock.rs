//! A lock for one writer or many readers, which knows the writer or the latest reader.

use std::time::{Duration, Instant};

use lock_api::{RawRwLock as _, RawRwLockRecursive as _, RawRwLockUpgrade as _};

use crate::lock::{Holder, contended};

/// A drop-in for `parking_lot::RwLock`, 24 bytes larger. Of several readers the one who came last stands for all.
pub type RwLock<T> = lock_api::RwLock<RawRwLock, T>;

/// The right to read what a [`RwLock`] guards.
pub type RwLockReadGuard<'a, T> = lock_api::RwLockReadGuard<'a, RawRwLock, T>;

/// The right to read and write what a [`RwLock`] guards.
pub type RwLockWriteGuard<'a, T> = lock_api::RwLockWriteGuard<'a, RawRwLock, T>;

/// The right to read what a [`RwLock`] guards, and to become its writer.
pub type RwLockUpgradableReadGuard<'a, T> = lock_api::RwLockUpgradableReadGuard<'a, RawRwLock, T>;

/// The right to read a part of what a [`RwLock`] guards.
pub type MappedRwLockReadGuard<'a, T> = lock_api::MappedRwLockReadGuard<'a, RawRwLock, T>;

/// The right to read and write a part of what a [`RwLock`] guards.
pub type MappedRwLockWriteGuard<'a, T> = lock_api::MappedRwLockWriteGuard<'a, RawRwLock, T>;

/// An [`RwLock`] in a constant; `RwLock::new` is one as well.
pub const fn const_rwlock<T>(value: T) -> RwLock<T> {
    RwLock::const_new(<RawRwLock as lock_api::RawRwLock>::INIT, value)
}

/// `parking_lot`'s, with a word for who holds it.
pub struct RawRwLock {
    inner: ::parking_lot::RawRwLock,
    holder: Holder,
}

impl std::fmt::Debug for RawRwLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawRwLock").field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl RawRwLock {
    /// Takes the inner lock by one of two ways, and notes it if that succeeds.
    #[inline]
    fn take(&self, try_lock: impl Fn() -> bool, lock: impl FnOnce() -> bool) -> bool {
        let taken = try_lock() || contended(&self.holder, || try_lock().then_some(true), lock);
        self.noted(taken)
    }

    #[inline]
    fn noted(&self, taken: bool) -> bool {
        if taken {
            self.holder.acquired();
        }
        taken
    }

    /// Gives up what `release` does.
    #[inline]
    fn release(&self, release: impl FnOnce(&::parking_lot::RawRwLock)) {
        let made_wait = self.holder.releasing();
        release(&self.inner);
        drop(made_wait);
    }
}

/// What never fails, for those who ask whether it did.
fn surely(lock: impl FnOnce()) -> bool {
    lock();
    true
}

// SAFETY: the inner lock excludes, and each call has just the same made to it.
unsafe impl lock_api::RawRwLock for RawRwLock {
    #[allow(clippy::declare_interior_mutable_const, reason = "the trait's way to make one")]
    const INIT: Self = Self { inner: ::parking_lot::RawRwLock::INIT, holder: Holder::new() };

    type GuardMarker = <::parking_lot::RawRwLock as lock_api::RawRwLock>::GuardMarker;

    #[inline]
    fn lock_shared(&self) {
        self.take(|| self.inner.try_lock_shared(), || surely(|| self.inner.lock_shared()));
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        self.noted(self.inner.try_lock_shared())
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller's promise is the same.
        self.release(|inner| unsafe { inner.unlock_shared() });
    }

    #[inline]
    fn lock_exclusive(&self) {
        self.take(|| self.inner.try_lock_exclusive(), || surely(|| self.inner.lock_exclusive()));
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        self.noted(self.inner.try_lock_exclusive())
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller's promise is the same.
        self.release(|inner| unsafe { inner.unlock_exclusive() });
    }

    #[inline]
    fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }

    #[inline]
    fn is_locked_exclusive(&self) -> bool {
        self.inner.is_locked_exclusive()
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockFair for RawRwLock {
    #[inline]
    unsafe fn unlock_shared_fair(&self) {
        // SAFETY: the caller's promise is the same.
        self.release(|inner| unsafe { inner.unlock_shared_fair() });
    }

    #[inline]
    unsafe fn unlock_exclusive_fair(&self) {
        // SAFETY: the caller's promise is the same.
        self.release(|inner| unsafe { inner.unlock_exclusive_fair() });
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockTimed for RawRwLock {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_shared_for(&self, timeout: Duration) -> bool {
        self.take(|| self.inner.try_lock_shared(), || self.inner.try_lock_shared_for(timeout))
    }

    fn try_lock_shared_until(&self, timeout: Instant) -> bool {
        self.take(|| self.inner.try_lock_shared(), || self.inner.try_lock_shared_until(timeout))
    }

    fn try_lock_exclusive_for(&self, timeout: Duration) -> bool {
        self.take(|| self.inner.try_lock_exclusive(), || self.inner.try_lock_exclusive_for(timeout))
    }

    fn try_lock_exclusive_until(&self, timeout: Instant) -> bool {
        self.take(|| self.inner.try_lock_exclusive(), || self.inner.try_lock_exclusive_until(timeout))
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockRecursive for RawRwLock {
    #[inline]
    fn lock_shared_recursive(&self) {
        let lock = || surely(|| self.inner.lock_shared_recursive());
        self.take(|| self.inner.try_lock_shared_recursive(), lock);
    }

    #[inline]
    fn try_lock_shared_recursive(&self) -> bool {
        self.noted(self.inner.try_lock_shared_recursive())
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockDowngrade for RawRwLock {
    #[inline]
    unsafe fn downgrade(&self) {
        // SAFETY: the caller's promise is the same.
        self.release(|inner| unsafe { inner.downgrade() });
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockUpgrade for RawRwLock {
    #[inline]
    fn lock_upgradable(&self) {
        self.take(|| self.inner.try_lock_upgradable(), || surely(|| self.inner.lock_upgradable()));
    }

    #[inline]
    fn try_lock_upgradable(&self) -> bool {
        self.noted(self.inner.try_lock_upgradable())
    }

    #[inline]
    unsafe fn unlock_upgradable(&self) {
        // SAFETY: the caller's promise is the same.
        self.release(|inner| unsafe { inner.unlock_upgradable() });
    }

    #[inline]
    unsafe fn upgrade(&self) {
        // SAFETY: the caller's promise is the same for both, of which the first changes nothing where it fails.
        let try_upgrade = || unsafe { self.inner.try_upgrade() };
        // SAFETY: as above.
        self.take(try_upgrade, || surely(|| unsafe { self.inner.upgrade() }));
    }

    #[inline]
    unsafe fn try_upgrade(&self) -> bool {
        // SAFETY: the caller's promise is the same.
        self.noted(unsafe { self.inner.try_upgrade() })
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockUpgradeDowngrade for RawRwLock {
    #[inline]
    unsafe fn downgrade_upgradable(&self) {
        // SAFETY: the caller's promise is the same.
        self.release(|inner| unsafe { inner.downgrade_upgradable() });
    }

    #[inline]
    unsafe fn downgrade_to_upgradable(&self) {
        // SAFETY: the caller's promise is the same.
        self.release(|inner| unsafe { inner.downgrade_to_upgradable() });
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockRecursiveTimed for RawRwLock {
    fn try_lock_shared_recursive_for(&self, timeout: Duration) -> bool {
        let lock = || self.inner.try_lock_shared_recursive_for(timeout);
        self.take(|| self.inner.try_lock_shared_recursive(), lock)
    }

    fn try_lock_shared_recursive_until(&self, timeout: Instant) -> bool {
        let lock = || self.inner.try_lock_shared_recursive_until(timeout);
        self.take(|| self.inner.try_lock_shared_recursive(), lock)
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockUpgradeFair for RawRwLock {
    #[inline]
    unsafe fn unlock_upgradable_fair(&self) {
        // SAFETY: the caller's promise is the same.
        self.release(|inner| unsafe { inner.unlock_upgradable_fair() });
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockUpgradeTimed for RawRwLock {
    fn try_lock_upgradable_for(&self, timeout: Duration) -> bool {
        self.take(|| self.inner.try_lock_upgradable(), || self.inner.try_lock_upgradable_for(timeout))
    }

    fn try_lock_upgradable_until(&self, timeout: Instant) -> bool {
        self.take(|| self.inner.try_lock_upgradable(), || self.inner.try_lock_upgradable_until(timeout))
    }

    unsafe fn try_upgrade_for(&self, timeout: Duration) -> bool {
        // SAFETY: the caller's promise is the same for both, of which the first changes nothing where it fails.
        let try_upgrade = || unsafe { self.inner.try_upgrade() };
        // SAFETY: as above.
        self.take(try_upgrade, || unsafe { self.inner.try_upgrade_for(timeout) })
    }

    unsafe fn try_upgrade_until(&self, timeout: Instant) -> bool {
        // SAFETY: as in `try_upgrade_for`.
        let try_upgrade = || unsafe { self.inner.try_upgrade() };
        // SAFETY: as above.
        self.take(try_upgrade, || unsafe { self.inner.try_upgrade_until(timeout) })
    }
}
