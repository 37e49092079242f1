//! Who records waits: a profiler, which knows stacks and profiles. The locks only tell.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use super::queue::Queue;
use super::switch::Session;

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A lock.
    Lock,
    /// A notification.
    Notification,
    /// Something else that told so.
    Other,
}

impl WaitsFor {
    /// By its number.
    #[cfg_attr(not(feature = "enabled"), allow(dead_code, reason = "no lock tells"))]
    pub(super) fn of(number: u8) -> Self {
        match number {
            0 => WaitsFor::Lock,
            1 => WaitsFor::Notification,
            _ => WaitsFor::Other,
        }
    }
}

/// A thread that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Its id.
    pub tid: i32,
    /// Since when, by the clock of [`now`](super::switch::now).
    pub since: u64,
    /// What for.
    pub waits_for: WaitsFor,
}

/// The stage and the label set of who holds a lock; 0 where unknown.
pub type HeldBy = (u16, u32);

/// The sum of the waits of one stack and context: how many, and nanoseconds.
#[derive(Debug, Default)]
pub struct Sums {
    /// How many.
    pub count: AtomicU64,
    /// How long.
    pub ns: AtomicU64,
    /// Those that go on.
    pub waiting: Queue,
}

/// What the locks tell while a session is on. All calls are for the calling thread, come from within its lock calls and
/// return soon: they wait for nobody.
pub trait Recorder: Sync {
    /// Where a wait that begins here will be counted. `None` if it can't be.
    fn wait(&self, session: Session, waits_for: WaitsFor, held_by: HeldBy) -> Option<Arc<Sums>>;

    /// The wait has ended.
    fn waited(&self, sums: &Sums, ns: u64);

    /// A wait has ended that was too short to ask for its place before. `start` is when it began.
    fn waited_shortly(&self, session: Session, held_by: HeldBy, start: u64, ns: u64);

    /// A hold has ended, for which others waited that long.
    fn made_wait(&self, session: Session, held_by: HeldBy, ns: u64);
}

static RECORDER: OnceLock<&'static dyn Recorder> = OnceLock::new();

/// Says who records from now on. The first one stays it.
pub fn install(recorder: &'static dyn Recorder) {
    let _ = RECORDER.set(recorder);
}

/// Who records. There is one before there is a session.
#[cfg_attr(not(feature = "enabled"), allow(dead_code, reason = "no lock tells"))]
pub(super) fn recorder() -> Option<&'static dyn Recorder> {
    RECORDER.get().copied()
}
