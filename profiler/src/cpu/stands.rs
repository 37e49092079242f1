//! Where the threads stood as an off-CPU profile began, and where each stood at its last switch: a
//! table of fixed size, written in handlers, for who looks from outside as the profile ends.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use super::tasks;
use crate::clock;
use crate::sleeping::Standing;

/// Waits of the running session whose beginning is not known.
pub(super) static FIRST: AtomicU64 = AtomicU64::new(0);

/// Where a thread stood at its last switch.
#[derive(Clone, Copy, Default)]
pub(super) struct Stand {
    /// By the wall clock and by the thread's CPU clock, in nanoseconds.
    pub(super) wall: u64,
    pub(super) cpu: u64,
    /// Switches so far: of its own will, and against it.
    pub(super) switches: [i64; 2],
}

/// Where the threads stood as the profile began, sorted by id. One that waited already raised no
/// event when it left, so where its wait belongs will not be known, unless it waits still at the end.
pub(super) struct Began {
    pub(super) running: Box<[(i32, Stand)]>,
    pub(super) waiting: Box<[(i32, Stand)]>,
}

impl Began {
    pub(super) fn now() -> Self {
        let stand = |tid: i32| {
            let standing = Standing::of(tid)?;
            let wall = clock::monotonic_ns();
            let cpu = clock::thread_cpu_ns(tid).ok()?;
            Some((standing.runs(), (tid, Stand { wall, cpu, switches: standing.switches })))
        };
        let mut stands: Vec<_> = tasks::list().into_iter().filter_map(stand).collect();
        stands.sort_unstable_by_key(|(_, (tid, _))| *tid);
        let those = |wanted| stands.iter().filter(move |(runs, _)| *runs == wanted).map(|(_, stand)| *stand);
        Self { running: those(true).collect(), waiting: those(false).collect() }
    }

    /// Where a thread stood that ran as the profile began. Async-signal-safe.
    pub(super) fn running(&self, tid: i32) -> Option<Stand> {
        find(&self.running, tid)
    }

    /// Where a thread stood that waited as the profile began.
    pub(super) fn waiting(&self, tid: i32) -> Option<Stand> {
        find(&self.waiting, tid)
    }
}

fn find(stands: &[(i32, Stand)], tid: i32) -> Option<Stand> {
    stands.binary_search_by_key(&tid, |(tid, _)| *tid).ok().map(|index| stands[index].1)
}

/// What is known of one thread.
pub(super) struct Entry {
    /// 0 if the place is free.
    tid: AtomicI32,
    wall: AtomicU64,
    cpu: AtomicU64,
    /// Whether the wait that the profile's end fell into has been counted.
    counted: AtomicBool,
}

/// Threads beyond it, or more than [`REACH`] whose ids differ by multiples of it, find no place.
/// 512 KiB, of which untouched pages take nothing.
const PLACES: usize = 16384;

/// Places that a thread's entry may be in.
const REACH: usize = 32;

static ENTRIES: [Entry; PLACES] = [const {
    Entry {
        tid: AtomicI32::new(0),
        wall: AtomicU64::new(0),
        cpu: AtomicU64::new(0),
        counted: AtomicBool::new(false),
    }
}; PLACES];

thread_local! {
    /// The session, and the thread's entry in it. Constant and without a destructor, so that a
    /// handler can read it at any time.
    static OWN: Cell<(u64, Option<&'static Entry>)> = const { Cell::new((0, None)) };
}

/// Forgets all threads. No handler of an earlier session runs any more.
pub(super) fn reset() {
    for entry in ENTRIES.iter().filter(|entry| entry.tid.load(Ordering::Relaxed) != 0) {
        entry.counted.store(false, Ordering::Relaxed);
        entry.wall.store(0, Ordering::Relaxed);
        entry.tid.store(0, Ordering::Release);
    }
}

fn places(tid: i32) -> impl Iterator<Item = &'static Entry> {
    (0..REACH).map(move |step| &ENTRIES[(tid as usize).wrapping_add(step) % PLACES])
}

/// The entry of a thread, a new one if it has none. `None` if there is no place.
/// Async-signal-safe.
pub(super) fn entry(tid: i32) -> Option<&'static Entry> {
    places(tid).find(|entry| {
        // Places are given back all at once, so none before an own one is free.
        let found = entry.tid.compare_exchange(0, tid, Ordering::AcqRel, Ordering::Acquire);
        found.is_ok() || found == Err(tid)
    })
}

/// That of the calling thread. Async-signal-safe.
pub(super) fn own(session: u64) -> Option<&'static Entry> {
    match OWN.get() {
        (of, entry) if of == session => entry,
        _ => {
            let entry = entry(tasks::own());
            OWN.set((session, entry));
            entry
        }
    }
}

impl Entry {
    /// Where its thread stands: by the wall clock and by its CPU clock.
    pub(super) fn note(&self, wall: u64, cpu: u64) {
        self.cpu.store(cpu, Ordering::Relaxed);
        self.wall.store(wall, Ordering::Release);
    }

    /// Where its thread stood last, if that was noted.
    pub(super) fn noted(&self) -> Option<(u64, u64)> {
        let wall = self.wall.load(Ordering::Acquire);
        (wall != 0).then(|| (wall, self.cpu.load(Ordering::Relaxed)))
    }

    /// Says that the wait that the profile's end fell into is counted. `false` if it has been.
    pub(super) fn count(&self) -> bool {
        !self.counted.swap(true, Ordering::AcqRel)
    }
}
