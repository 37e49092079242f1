//! `std`'s mutex, with a word for who holds it.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, TryLockResult};

use super::poisoned::{map, taken, tried};
use crate::lock::Holder;
use crate::lock::contended;

/// A drop-in for [`std::sync::Mutex`], which it locks by, 24 bytes larger. It poisons as that does.
#[derive(Default)]
pub struct Mutex<T: ?Sized> {
    holder: Holder,
    inner: std::sync::Mutex<T>,
}

/// The right to what a [`Mutex`] guards.
#[must_use = "if unused the Mutex will immediately unlock"]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    holder: &'a Holder,
    inner: ManuallyDrop<std::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    /// One that nobody holds.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self { holder: Holder::new(), inner: std::sync::Mutex::new(value) }
    }

    /// What it guards.
    ///
    /// # Errors
    /// With the value, if the mutex is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the mutex, and waits for it if it is not free.
    ///
    /// # Errors
    /// With the guard, if a thread that held it panicked.
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let inner = match taken(self.inner.try_lock()) {
            Some(inner) => inner,
            None => self.wait(),
        };
        map(inner, |inner| MutexGuard::acquired(&self.holder, inner))
    }

    #[cold]
    fn wait(&self) -> LockResult<std::sync::MutexGuard<'_, T>> {
        contended(&self.holder, || taken(self.inner.try_lock()), || self.inner.lock())
    }

    /// Takes the mutex if it is free.
    ///
    /// # Errors
    /// If it is not free; or with the guard, if a thread that held it panicked.
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let inner = taken(self.inner.try_lock());
        tried(inner.map(|inner| map(inner, |inner| MutexGuard::acquired(&self.holder, inner))))
    }

    /// Whether a thread panicked that held it.
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
    /// With the value, if the mutex is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.inner.get_mut()
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// The calling thread has taken the lock.
    #[inline]
    pub(super) fn acquired(holder: &'a Holder, inner: std::sync::MutexGuard<'a, T>) -> Self {
        holder.acquired();
        Self { holder, inner: ManuallyDrop::new(inner) }
    }

    /// What it is made of, for those who unlock it otherwise.
    pub(super) fn parts(self) -> (&'a Holder, std::sync::MutexGuard<'a, T>) {
        let mut whole = ManuallyDrop::new(self);
        // SAFETY: nothing uses the inner guard hereafter, for the outer one is not dropped.
        (whole.holder, unsafe { ManuallyDrop::take(&mut whole.inner) })
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let made_wait = self.holder.releasing();
        // SAFETY: nothing uses it hereafter.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
        drop(made_wait);
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
