//! One wait, from its beginning to its end.

use std::marker::PhantomData;
use std::sync::Arc;

use super::holder::Holder;
use super::recorder::{HeldBy, Sums, WaitsFor, recorder};
use super::switch::{self, Session};
use super::waiters::{self, Mark};
use crate::record::clock::system_ns;

/// Calls what blocks, and records how long it took, in the stage and with the labels that the calling thread is in. Such waits have
/// the label `state` `blocked`.
///
/// ```
/// # let (sender, receiver) = std::sync::mpsc::channel();
/// # sender.send(7).unwrap();
/// let next = stagelight::lock::waiting(|| receiver.recv());
/// # assert_eq!(next, Ok(7));
/// ```
///
/// Costs 25 ns, and while waits are recorded, about 1 µs before it blocks, more where the stack is
/// deep. A panic within is a wait's end too.
pub fn waiting<R>(blocking: impl FnOnce() -> R) -> R {
    let _wait = Wait::begin(None);
    blocking()
}

/// A wait that lasts until this is dropped: for locks of your own. [`Holder`] has an example.
///
/// It costs 25 ns, and while waits are recorded, about 1 µs, more where the stack is deep, nearly all
/// of it as it begins.
#[must_use = "the wait ends when this is dropped"]
#[derive(Debug)]
pub struct Wait<'a> {
    begun: Option<Begun<'a>>,
    _marked: Mark,
    /// It belongs to the thread that waits.
    _not_send: PhantomData<*const ()>,
}

impl<'a> Wait<'a> {
    /// Begins to wait for a lock, or, without one, for anything else.
    #[inline]
    pub fn begin(holder: Option<&'a Holder>) -> Self {
        Self::of(if holder.is_some() { WaitsFor::Lock } else { WaitsFor::Other }, holder)
    }

    /// Begins to wait for a notification.
    pub(crate) fn for_notification() -> Self {
        Self::of(WaitsFor::Notification, None)
    }

    #[inline]
    fn of(waits_for: WaitsFor, holder: Option<&'a Holder>) -> Self {
        let begun = switch::session().and_then(|session| Begun::prepared(session, waits_for, holder));
        Self { begun, _marked: waiters::mark(waits_for), _not_send: PhantomData }
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
    waits_for: WaitsFor,
    holder: Option<&'a Holder>,
    /// Stage and label set of who held the lock as it began.
    held_by: HeldBy,
    start: u64,
    /// Where it will be counted, if that was found before.
    sums: Option<Arc<Sums>>,
    /// Whether it is counted there meanwhile, as one that goes on.
    goes_on: bool,
}

impl<'a> Begun<'a> {
    fn new(session: Session, waits_for: WaitsFor, holder: Option<&'a Holder>) -> Option<Self> {
        let start = holder.map_or_else(|| Some(system_ns()), Holder::enter)?;
        let held_by = holder.map_or((0, 0), |holder| holder.held_by(session));
        Some(Self { session, waits_for, holder, held_by, start, sums: None, goes_on: false })
    }

    #[cold]
    fn prepared(session: Session, waits_for: WaitsFor, holder: Option<&'a Holder>) -> Option<Self> {
        let mut begun = Self::new(session, waits_for, holder)?;
        begun.prepare();
        Some(begun)
    }

    /// Takes the stack, while there is nothing to do but to wait.
    fn prepare(&mut self) {
        self.sums = recorder().and_then(|recorder| recorder.wait(self.session, self.waits_for, self.held_by));
        self.goes_on = self.sums.as_ref().is_some_and(|sums| sums.waiting.enter(self.start));
    }

    /// Leaves the queue, and says how long it took.
    fn leave(&self) -> u64 {
        if let Some(holder) = self.holder {
            holder.leave(self.start);
        }
        if let (Some(sums), true) = (&self.sums, self.goes_on) {
            sums.waiting.leave(self.start);
        }
        system_ns().saturating_sub(self.start)
    }

    fn end(self) {
        let waited = self.leave();
        if let (Some(sums), Some(recorder)) = (&self.sums, recorder())
            && switch::session() == Some(self.session)
        {
            recorder.waited(sums, waited);
        }
    }

    /// Ends a wait that was too short to take its stack meanwhile. Of such some are recorded, and weigh for the others.
    fn end_soon(self) {
        let waited = self.leave().max(1);
        if let Some(recorder) = recorder() {
            recorder.waited_shortly(self.session, self.held_by, self.start, waited);
        }
    }
}

/// Takes a lock that is not free: by `try_lock` if that succeeds within about a microsecond, else by `lock`. Gives what the one
/// or the other does.
#[cold]
pub(crate) fn contended<R>(holder: &Holder, try_lock: impl Fn() -> Option<R>, lock: impl FnOnce() -> R) -> R {
    /// Rounds of 2, 4, 8 … pauses.
    const ROUNDS: u32 = 5;
    let begun = switch::session().and_then(|session| Begun::new(session, WaitsFor::Lock, Some(holder)));
    let Some(mut begun) = begun else {
        let _marked = waiters::mark(WaitsFor::Lock);
        return lock();
    };
    for round in 1..=ROUNDS {
        for _ in 0..1 << round {
            std::hint::spin_loop();
        }
        if let Some(taken) = try_lock() {
            begun.end_soon();
            return taken;
        }
    }
    begun.prepare();
    let marked = waiters::mark(WaitsFor::Lock);
    let taken = lock();
    drop(marked);
    begun.end();
    taken
}
