//! A condition variable for our mutex.

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use super::mutex::MutexGuard;
use crate::lock::Wait;

/// Whether a wait that had an end came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did.
    #[must_use]
    pub fn timed_out(self) -> bool {
        self.0
    }
}

/// A drop-in for `parking_lot::Condvar`, on [`Mutex`](super::Mutex).
///
/// A wait for a notification has the label `state` `condvar`, ends once the mutex is locked again, and is nobody's doing: no holder is
/// named. While waits are recorded its stack is taken before the mutex is unlocked, which takes some microseconds.
#[derive(Debug, Default)]
pub struct Condvar {
    inner: ::parking_lot::Condvar,
}

impl Condvar {
    /// One that nobody waits on.
    #[must_use]
    pub const fn new() -> Self {
        Self { inner: ::parking_lot::Condvar::new() }
    }

    /// Wakes one that waits. Says whether there was one.
    #[inline]
    pub fn notify_one(&self) -> bool {
        self.inner.notify_one()
    }

    /// Wakes all that wait. Says how many there were.
    #[inline]
    pub fn notify_all(&self) -> usize {
        self.inner.notify_all()
    }

    /// Waits for a notification, with the mutex unlocked meanwhile. None comes unasked, but what was waited for may be gone by then.
    ///
    /// # Panics
    /// As `parking_lot`'s does, if others wait on it with another mutex.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        unlocked(guard, |guard| self.inner.wait(guard));
    }

    /// The same until a moment at the latest.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        timeout: Instant,
    ) -> WaitTimeoutResult {
        WaitTimeoutResult(unlocked(guard, |guard| self.inner.wait_until(guard, timeout).timed_out()))
    }

    /// The same for that long at most.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_for<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> WaitTimeoutResult {
        WaitTimeoutResult(unlocked(guard, |guard| self.inner.wait_for(guard, timeout).timed_out()))
    }

    /// Waits while a condition holds.
    ///
    /// # Panics
    /// As [`wait`](Self::wait), and if the condition does.
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(guard) {
            self.wait(guard);
        }
    }

    /// The same until a moment at the latest. If that comes first, it has timed out, whatever the condition is then.
    ///
    /// # Panics
    /// As [`wait_while`](Self::wait_while).
    pub fn wait_while_until<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
        timeout: Instant,
    ) -> WaitTimeoutResult {
        while condition(guard) {
            if self.wait_until(guard, timeout).timed_out() {
                return WaitTimeoutResult(true);
            }
        }
        WaitTimeoutResult(false)
    }

    /// The same for that long at most.
    ///
    /// # Panics
    /// As [`wait_while`](Self::wait_while).
    pub fn wait_while_for<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        condition: impl FnMut(&mut T) -> bool,
        timeout: Duration,
    ) -> WaitTimeoutResult {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.wait_while_until(guard, condition, deadline),
            // One that is too far for the clock never comes.
            None => {
                self.wait_while(guard, condition);
                WaitTimeoutResult(false)
            }
        }
    }
}

/// Calls what unlocks the inner mutex for a while.
fn unlocked<T: ?Sized, R>(
    guard: &mut MutexGuard<'_, T>,
    wait: impl FnOnce(&mut ::parking_lot::MutexGuard<'_, ()>) -> R,
) -> R {
    // SAFETY: it is unlocked by `wait` alone, which locks it again before anyone can use the guard.
    let raw = unsafe { MutexGuard::mutex(guard).raw() };
    let made_wait = raw.holder.releasing();
    let waiting = Wait::for_notification();
    // SAFETY: it is locked, and what this gives is not dropped: whoever has our guard unlocks it.
    let mut inner = ManuallyDrop::new(unsafe { raw.inner.make_guard_unchecked() });
    let result = wait(&mut inner);
    drop(waiting);
    raw.holder.acquired();
    drop(made_wait);
    result
}
