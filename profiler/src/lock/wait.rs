//! One wait, from its beginning to its end.

use std::marker::PhantomData;

use super::holder::Holder;
use super::record::{self, Entry, Of};
use super::switch::{self, Session};
use crate::clock;
use crate::profile::State;

/// Calls what blocks, and records how long it took, in the stage and with the labels that the calling thread is in. Such waits have
/// the label `state` `blocked`.
///
/// ```
/// # let (sender, receiver) = std::sync::mpsc::channel();
/// # sender.send(7).unwrap();
/// let next = stagelight_profiler::lock::waiting(|| receiver.recv());
/// # assert_eq!(next, Ok(7));
/// ```
///
/// Costs a load, and while waits are recorded, about 1 µs before it blocks, more where the stack is deep. A panic within is a wait's end too.
pub fn waiting<R>(blocking: impl FnOnce() -> R) -> R {
    let _wait = Wait::begin(None);
    blocking()
}

/// A wait that lasts until this is dropped: for locks of your own. [`Holder`] has an example.
///
/// It costs a load, and while waits are recorded, about 1 µs, more where the stack is deep, nearly all of it as it begins.
#[must_use = "the wait ends when this is dropped"]
#[derive(Debug)]
pub struct Wait<'a> {
    begun: Option<Begun<'a>>,
    /// It belongs to the thread that waits.
    _not_send: PhantomData<*const ()>,
}

impl<'a> Wait<'a> {
    /// Begins to wait for a lock, or, without one, for anything else.
    #[inline]
    pub fn begin(holder: Option<&'a Holder>) -> Self {
        let begun = switch::session().and_then(|session| {
            let state = if holder.is_some() { State::Lock } else { State::Blocked };
            Begun::prepared(session, state, holder)
        });
        Self { begun, _not_send: PhantomData }
    }

    /// Begins to wait for a notification.
    pub(super) fn for_notification() -> Self {
        let begun = switch::session().and_then(|session| Begun::prepared(session, State::Condvar, None));
        Self { begun, _not_send: PhantomData }
    }
}

impl Drop for Wait<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take() {
            begun.end();
        }
    }
}

/// A wait that is recorded.
#[derive(Debug)]
struct Begun<'a> {
    session: Session,
    state: State,
    holder: Option<&'a Holder>,
    /// Stage and label set of who held the lock as it began.
    held_by: (u16, u32),
    start: u64,
    /// Where it will be counted, if that was found before.
    entry: Option<Entry>,
}

impl<'a> Begun<'a> {
    fn new(session: Session, state: State, holder: Option<&'a Holder>) -> Option<Self> {
        let start = holder.map_or_else(|| Some(clock::monotonic_ns()), Holder::enter)?;
        let held_by = holder.map_or((0, 0), |holder| holder.held_by(session));
        Some(Self { session, state, holder, held_by, start, entry: None })
    }

    #[cold]
    fn prepared(session: Session, state: State, holder: Option<&'a Holder>) -> Option<Self> {
        let mut begun = Self::new(session, state, holder)?;
        begun.prepare();
        Some(begun)
    }

    /// Takes the stack, while there is nothing to do but to wait.
    fn prepare(&mut self) {
        self.entry = record::wait(self.session, self.state, self.held_by);
    }

    /// Leaves the queue, and says how long it took.
    fn leave(&self) -> u64 {
        if let Some(holder) = self.holder {
            holder.leave(self.start);
        }
        clock::monotonic_ns().saturating_sub(self.start)
    }

    fn end(self) {
        let waited = self.leave();
        if let Some(entry) = &self.entry
            && switch::session() == Some(self.session)
        {
            record::kept(entry, 1, waited);
        }
    }

    /// Ends a wait that was too short to take its stack meanwhile. Of such some are recorded, and weigh for the others.
    fn end_soon(mut self) {
        let waited = self.leave().max(1);
        let Some((count, ns)) = record::weight(Of::Wait, waited, self.start) else { return };
        self.prepare();
        if let Some(entry) = &self.entry {
            record::kept(entry, count, ns);
        }
    }
}

/// Takes a lock that is not free: by `try_lock` if that succeeds within about a microsecond, else by `lock`, of which it gives the
/// result.
#[cold]
pub(super) fn contended(holder: &Holder, try_lock: impl Fn() -> bool, lock: impl FnOnce() -> bool) -> bool {
    /// Rounds of 2, 4, 8 … pauses.
    const ROUNDS: u32 = 5;
    let begun = switch::session().and_then(|session| Begun::new(session, State::Lock, Some(holder)));
    let Some(mut begun) = begun else { return lock() };
    for round in 1..=ROUNDS {
        for _ in 0..1 << round {
            std::hint::spin_loop();
        }
        if try_lock() {
            begun.end_soon();
            return true;
        }
    }
    begun.prepare();
    let taken = lock();
    begun.end();
    taken
}
