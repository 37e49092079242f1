//! What a lock knows of who holds it and who waits.
//!
//! # Why the sums come out
//! `queue` holds in one word how many wait and the sum of the moments since when, so that both change at once. A release
//! takes what each of them has waited, `n × now − sum`, which was this hold's doing, and lets all begin anew at `now`. So each
//! moment of a wait belongs to one hold, and what holds made others wait adds up to what the others waited, less what passed
//! between the last release and the end of a wait. Who leaves takes off its own moment, the later of its beginning and the last
//! release. Where that is unsure by a race with a reader's release or a time-out, an error of as much may stay in the sum,
//! until nobody waits: then it is 0 again. The sum wraps after 78 hours of waiting in one hold.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::recorder::{HeldBy, recorder};
use super::switch::{self, Session};
use crate::record::clock::system_ns;
use crate::record::thread;

/// Bits of `queue` that count those who wait. The rest is the sum of the moments.
const COUNT_BITS: u32 = 16;
const MOST: u64 = (1 << COUNT_BITS) - 1;

/// The part of a lock that tells who holds it, for locks of your own: 24 bytes.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use stagelight::lock::{Holder, Wait};
///
/// struct SpinLock {
///     taken: AtomicBool,
///     holder: Holder,
/// }
///
/// impl SpinLock {
///     fn lock(&self) {
///         let try_lock = || !self.taken.swap(true, Ordering::Acquire);
///         if !try_lock() {
///             let _wait = Wait::begin(Some(&self.holder));
///             while !try_lock() {
///                 std::thread::yield_now();
///             }
///         }
///         self.holder.acquired();
///     }
///
///     fn unlock(&self) {
///         let made_wait = self.holder.releasing();
///         self.taken.store(false, Ordering::Release);
///         drop(made_wait);
///     }
/// }
///
/// let lock = SpinLock { taken: AtomicBool::new(false), holder: Holder::new() };
/// lock.lock();
/// lock.unlock();
/// ```
#[derive(Default)]
pub struct Holder {
    /// Session, stage and label set of who took it last.
    word: AtomicU64,
    /// How many wait, and the sum of the moments since when.
    queue: AtomicU64,
    /// The last release that someone waited for.
    settled: AtomicU64,
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.queue.load(Ordering::Relaxed) & MOST;
        f.debug_struct("Holder").field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl Holder {
    /// For a lock that nobody holds.
    #[must_use]
    pub const fn new() -> Self {
        Self { word: AtomicU64::new(0), queue: AtomicU64::new(0), settled: AtomicU64::new(0) }
    }

    /// The calling thread has taken the lock. Costs a load, and while waits are recorded, a store and what it takes to read the
    /// thread's stage and labels: three loads.
    #[inline]
    pub fn acquired(&self) {
        if let Some(session) = switch::session() {
            let (stage, labels) = thread::current();
            let word = u64::from(session.get()) << 48 | u64::from(stage as u16) << 32 | u64::from(labels);
            self.word.store(word, Ordering::Relaxed);
        }
    }

    /// The calling thread is about to release the lock. What this gives shall be dropped once that is done: then it is
    /// recorded whom the hold made wait. Costs a load, and while waits are recorded, another; more if someone waits.
    #[inline]
    pub fn releasing(&self) -> Release {
        match switch::session() {
            Some(session) if self.queue.load(Ordering::Relaxed) != 0 => Release(self.settle(session)),
            _ => Release(None),
        }
    }

    #[cold]
    fn settle(&self, session: Session) -> Option<MadeWait> {
        let mut queue = self.queue.load(Ordering::Relaxed);
        loop {
            let waiting = queue & MOST;
            if waiting == 0 {
                return None;
            }
            let now = system_ns();
            let sum = waiting.wrapping_mul(now);
            // The difference of two sums that wrap.
            let waited = (sum << COUNT_BITS).wrapping_sub(queue & !MOST) as i64 >> COUNT_BITS;
            let next = sum << COUNT_BITS | waiting;
            match self.queue.compare_exchange_weak(queue, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    self.settled.store(now, Ordering::Relaxed);
                    // Some may wait since before the session.
                    let most = waiting.saturating_mul(now.saturating_sub(switch::started()));
                    let waited_ns = (waited.max(0) as u64).min(most);
                    return Some(MadeWait { session, held_by: self.held_by(session), waited_ns });
                }
                Err(changed) => queue = changed,
            }
        }
    }

    /// Stage and label set of who holds the lock, if it was taken in this session.
    pub(super) fn held_by(&self, session: Session) -> HeldBy {
        let word = self.word.load(Ordering::Relaxed);
        if word >> 48 == u64::from(session.get()) { ((word >> 32) as u16, word as u32) } else { (0, 0) }
    }

    /// Begins to wait, and says when. `None` if 65,535 threads do.
    pub(super) fn enter(&self) -> Option<u64> {
        let mut queue = self.queue.load(Ordering::Relaxed);
        loop {
            if queue & MOST == MOST {
                return None;
            }
            let now = system_ns();
            let next = queue.wrapping_add((now << COUNT_BITS) + 1);
            match self.queue.compare_exchange_weak(queue, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(now),
                Err(changed) => queue = changed,
            }
        }
    }

    /// Ends what began at `start`.
    pub(super) fn leave(&self, start: u64) {
        let mut queue = self.queue.load(Ordering::Relaxed);
        loop {
            let since = start.max(self.settled.load(Ordering::Relaxed));
            let next = if queue & MOST <= 1 { 0 } else { queue.wrapping_sub((since << COUNT_BITS) + 1) };
            match self.queue.compare_exchange_weak(queue, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(changed) => queue = changed,
            }
        }
    }
}

/// A hold that is ending. Dropping it records whom it made wait, if it did, with the stack: about 1 µs, and more if that is deep. It
/// doesn't refer to the lock, which may be gone by then.
#[must_use = "drop it once the lock is released"]
#[derive(Debug)]
pub struct Release(Option<MadeWait>);

#[derive(Debug)]
struct MadeWait {
    session: Session,
    held_by: HeldBy,
    waited_ns: u64,
}

impl Drop for Release {
    #[inline]
    fn drop(&mut self) {
        if let Some(MadeWait { session, held_by, waited_ns }) = self.0.take()
            && let Some(recorder) = recorder()
        {
            recorder.made_wait(session, held_by, waited_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_empty_once_all_have_left_and_sums_add_up() {
        let session = Session::MIN;
        let holder = Holder::new();
        let starts: Vec<u64> = (0..3).map(|_| holder.enter().unwrap()).collect();
        let begun = system_ns();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(holder.settle(session).is_some());
        let settled = holder.settled.load(Ordering::Relaxed);
        // All three begin anew at the release: one leaves, one comes.
        holder.leave(starts[1]);
        let late = holder.enter().unwrap();
        assert_eq!(holder.queue.load(Ordering::Relaxed) & MOST, 3);
        let sum = holder.queue.load(Ordering::Relaxed) >> COUNT_BITS;
        assert_eq!(sum, (2 * settled + late) & ((1 << 48) - 1));
        assert!(settled > begun && late >= settled);
        for start in [starts[0], starts[2], late] {
            holder.leave(start);
        }
        assert_eq!(holder.queue.load(Ordering::Relaxed), 0);
        assert!(holder.settle(session).is_none());
    }

    #[test]
    fn who_held_it_in_another_session_is_not_known() {
        let holder = Holder::new();
        holder.word.store(7 << 48 | 3 << 32 | 5, Ordering::Relaxed);
        assert_eq!(holder.held_by(Session::new(7).unwrap()), (3, 5));
        assert_eq!(holder.held_by(Session::new(8).unwrap()), (0, 0));
    }
}
