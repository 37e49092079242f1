//! `std`'s lock for one writer or many readers, with a word for the writer or the latest reader.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, TryLockResult};

use super::poisoned::{map, taken, tried};
use crate::lock::Holder;
use crate::lock::contended;

/// A drop-in for [`std::sync::RwLock`], which it locks by, 24 bytes larger. It poisons as that does. Of several readers the one
/// who came last stands for all.
#[derive(Default)]
pub struct RwLock<T: ?Sized> {
    holder: Holder,
    inner: std::sync::RwLock<T>,
}

/// The right to read what a [`RwLock`] guards.
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    holder: &'a Holder,
    inner: ManuallyDrop<std::sync::RwLockReadGuard<'a, T>>,
}

/// The right to read and write what a [`RwLock`] guards.
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    holder: &'a Holder,
    inner: ManuallyDrop<std::sync::RwLockWriteGuard<'a, T>>,
}

impl<T> RwLock<T> {
    /// One that nobody holds.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self { holder: Holder::new(), inner: std::sync::RwLock::new(value) }
    }

    /// What it guards.
    ///
    /// # Errors
    /// With the value, if the lock is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read, and waits for it if a writer has it.
    ///
    /// # Errors
    /// With the guard, if a writer panicked.
    #[inline]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let inner = match taken(self.inner.try_read()) {
            Some(inner) => inner,
            None => self.wait_to_read(),
        };
        map(inner, |inner| RwLockReadGuard::acquired(&self.holder, inner))
    }

    #[cold]
    fn wait_to_read(&self) -> LockResult<std::sync::RwLockReadGuard<'_, T>> {
        contended(&self.holder, || taken(self.inner.try_read()), || self.inner.read())
    }

    /// Takes the lock to read if no writer has it.
    ///
    /// # Errors
    /// If one has it; or with the guard, if a writer panicked.
    #[inline]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let inner = taken(self.inner.try_read());
        tried(inner.map(|inner| map(inner, |inner| RwLockReadGuard::acquired(&self.holder, inner))))
    }

    /// Takes the lock to write, and waits for it if anyone has it.
    ///
    /// # Errors
    /// With the guard, if a writer panicked.
    #[inline]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let inner = match taken(self.inner.try_write()) {
            Some(inner) => inner,
            None => self.wait_to_write(),
        };
        map(inner, |inner| RwLockWriteGuard::acquired(&self.holder, inner))
    }

    #[cold]
    fn wait_to_write(&self) -> LockResult<std::sync::RwLockWriteGuard<'_, T>> {
        contended(&self.holder, || taken(self.inner.try_write()), || self.inner.write())
    }

    /// Takes the lock to write if nobody has it.
    ///
    /// # Errors
    /// If someone has it; or with the guard, if a writer panicked.
    #[inline]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let inner = taken(self.inner.try_write());
        tried(inner.map(|inner| map(inner, |inner| RwLockWriteGuard::acquired(&self.holder, inner))))
    }

    /// Whether a writer panicked.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.inner.is_poisoned()
    }

    /// Takes it for sound again.
    #[inline]
    pub fn clear_poison(&self) {
        self.inner.clear_poison();
    }

    /// What it guards, which nobody else can get at now.
    ///
    /// # Errors
    /// With the value, if the lock is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.inner.get_mut()
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

macro_rules! guard {
    ($guard:ident) => {
        impl<'a, T: ?Sized> $guard<'a, T> {
            /// The calling thread has taken the lock.
            #[inline]
            fn acquired(holder: &'a Holder, inner: std::sync::$guard<'a, T>) -> Self {
                holder.acquired();
                Self { holder, inner: ManuallyDrop::new(inner) }
            }
        }

        impl<T: ?Sized> Drop for $guard<'_, T> {
            #[inline]
            fn drop(&mut self) {
                let made_wait = self.holder.releasing();
                // SAFETY: nothing uses it hereafter.
                unsafe { ManuallyDrop::drop(&mut self.inner) };
                drop(made_wait);
            }
        }

        impl<T: ?Sized> Deref for $guard<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.inner
            }
        }

        impl<T: ?Sized + fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }

        impl<T: ?Sized + fmt::Display> fmt::Display for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}
guard!(RwLockReadGuard);
guard!(RwLockWriteGuard);

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Lets readers in, and stays one: no writer comes in between.
    pub fn downgrade(s: Self) -> RwLockReadGuard<'a, T> {
        let mut whole = ManuallyDrop::new(s);
        let made_wait = whole.holder.releasing();
        // SAFETY: nothing uses the inner guard hereafter, for the outer one is not dropped.
        let inner = unsafe { ManuallyDrop::take(&mut whole.inner) };
        let inner = ManuallyDrop::new(std::sync::RwLockWriteGuard::downgrade(inner));
        drop(made_wait);
        RwLockReadGuard { holder: whole.holder, inner }
    }
}
