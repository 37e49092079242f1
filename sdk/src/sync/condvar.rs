//! `std`'s condition variable, for our mutex.

use std::sync::LockResult;
use std::time::{Duration, Instant};

use super::mutex::MutexGuard;
use super::poisoned::map;
use crate::lock::Wait;

/// Whether a wait that had an end came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// A drop-in for [`std::sync::Condvar`], on our [`Mutex`](super::Mutex).
///
/// A wait for a notification has the label `state` `condvar`, ends once the mutex is locked again, and is nobody's doing: no holder is
/// named. While waits are recorded its stack is taken before the mutex is unlocked, which takes some microseconds.
#[derive(Debug, Default)]
pub struct Condvar {
    inner: std::sync::Condvar,
}

impl Condvar {
    /// One that nobody waits on.
    #[must_use]
    pub const fn new() -> Self {
        Self { inner: std::sync::Condvar::new() }
    }

    /// Wakes one that waits.
    #[inline]
    pub fn notify_one(&self) {
        self.inner.notify_one();
    }

    /// Wakes all that wait.
    #[inline]
    pub fn notify_all(&self) {
        self.inner.notify_all();
    }

    /// Waits for a notification, with the mutex unlocked meanwhile. One may come unasked.
    ///
    /// # Errors
    /// With the guard, if a thread that held the mutex panicked.
    ///
    /// # Panics
    /// As `std`'s may, if others wait on it with another mutex.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let result = unlocked(guard, |inner| map(self.inner.wait(inner), |inner| (inner, ())));
        map(result, |(guard, ())| guard)
    }

    /// Waits while a condition holds.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait), and if the condition does.
    pub fn wait_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits for a notification for that long at most.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        unlocked(guard, |inner| {
            map(self.inner.wait_timeout(inner, timeout), |(inner, result)| {
                (inner, WaitTimeoutResult(result.timed_out()))
            })
        })
    }

    /// The same in milliseconds; whether it was woken.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    #[deprecated(note = "replaced by `wait_timeout`, as in `std`")]
    pub fn wait_timeout_ms<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        ms: u32,
    ) -> LockResult<(MutexGuard<'a, T>, bool)> {
        let result = self.wait_timeout(guard, Duration::from_millis(ms.into()));
        map(result, |(guard, result)| (guard, !result.timed_out()))
    }

    /// Waits while a condition holds, for that long at most. If that comes first and the condition still holds, it has timed
    /// out.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    /// As [`wait_while`](Self::wait_while).
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let start = Instant::now();
        while condition(&mut guard) {
            let Some(left) = timeout.checked_sub(start.elapsed()) else {
                return Ok((guard, WaitTimeoutResult(true)));
            };
            guard = self.wait_timeout(guard, left)?.0;
        }
        Ok((guard, WaitTimeoutResult(false)))
    }
}

/// Calls what unlocks the inner mutex for a while, and locks it again.
fn unlocked<'a, T, R>(
    guard: MutexGuard<'a, T>,
    wait: impl FnOnce(std::sync::MutexGuard<'a, T>) -> LockResult<(std::sync::MutexGuard<'a, T>, R)>,
) -> LockResult<(MutexGuard<'a, T>, R)> {
    let (holder, inner) = guard.parts();
    let made_wait = holder.releasing();
    let waiting = Wait::for_notification();
    let result = wait(inner);
    drop(waiting);
    let result = map(result, |(inner, with)| (MutexGuard::acquired(holder, inner), with));
    drop(made_wait);
    result
}
