//! What is recorded of waits and of holds: sums by stack and context, in shards that nobody ever waits for.

use std::cell::Cell;
use std::collections::HashMap;
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use stagelight::__private::lock::{HeldBy, Recorder, Session, Sums, WaitsFor, session};

use crate::clock;
use crate::profile::{Context, Raw, STILL_WAITING, State};
use crate::thread_name::{self, ThreadName};

/// From how long a wait on every one is recorded, in nanoseconds: what it costs to record one is well below.
pub(super) const MIN_WAIT_NS: u64 = 10_000;

/// Frames that a stack keeps. What is deeper is cut and counts as incomplete.
pub(super) const MAX_FRAMES: usize = 250;

const SHARDS: usize = 16;

/// Frames of different stacks in a shard: 8 MiB in all. Samples of further stacks count by their labels alone.
const MAX_STACKS: usize = (1 << 20) / SHARDS;

/// Different stacks and contexts in a shard, about 10 MiB in all. Of further samples the thread is left out.
const MAX_SUMS: usize = (1 << 16) / SHARDS;

/// Of which there are two profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// A wait, with the stack of who waited.
    Wait,
    /// A hold that made others wait, with the stack of who released.
    Hold,
}

/// Counts since the process started. Each is documented where it is exported.
#[derive(Debug)]
pub(super) struct Counts<T> {
    pub(super) waits: T,
    pub(super) holds: T,
    /// Of both: those whose stack reaches the thread's start.
    pub(super) complete: [T; 2],
    /// Of both: short ones that others stand for.
    pub(super) thinned: [T; 2],
    pub(super) busy: T,
    pub(super) nested: T,
    pub(super) stack_cap: T,
    pub(super) context_cap: T,
}

static COUNTS: Counts<AtomicU64> = Counts {
    waits: AtomicU64::new(0),
    holds: AtomicU64::new(0),
    complete: [AtomicU64::new(0), AtomicU64::new(0)],
    thinned: [AtomicU64::new(0), AtomicU64::new(0)],
    busy: AtomicU64::new(0),
    nested: AtomicU64::new(0),
    stack_cap: AtomicU64::new(0),
    context_cap: AtomicU64::new(0),
};

/// What they stand at.
pub(super) fn counts() -> Counts<u64> {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Counts {
        waits: read(&COUNTS.waits),
        holds: read(&COUNTS.holds),
        complete: [read(&COUNTS.complete[0]), read(&COUNTS.complete[1])],
        thinned: [read(&COUNTS.thinned[0]), read(&COUNTS.thinned[1])],
        busy: read(&COUNTS.busy),
        nested: read(&COUNTS.nested),
        stack_cap: read(&COUNTS.stack_cap),
        context_cap: read(&COUNTS.context_cap),
    }
}

fn count(what: &AtomicU64) {
    what.fetch_add(1, Ordering::Relaxed);
}

/// The sum of the samples of one stack and context.
type Entry = Arc<Sums>;

#[derive(Default)]
struct Shard {
    stacks: HashMap<Box<[u64]>, u32>,
    frames: usize,
    sums: HashMap<(u32, Of, Context), Entry>,
}

/// `None` while nothing is recorded.
static TABLE: [Mutex<Option<Shard>>; SHARDS] = [const { Mutex::new(None) }; SHARDS];

fn lock(shard: &Mutex<Option<Shard>>) -> MutexGuard<'_, Option<Shard>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes room for a session's sums.
pub(super) fn open() {
    TABLE.iter().for_each(|shard| *lock(shard) = Some(Shard::default()));
}

/// What a session recorded.
pub(super) struct Recorded {
    pub(super) waits: Vec<Raw>,
    pub(super) holds: Vec<Raw>,
    /// How many of the waits had not ended.
    pub(super) waiting: u64,
}

/// Takes the sums of a session. Waits that go on count up to `now`, with a frame that says so.
pub(super) fn close(now: u64) -> Recorded {
    type ByStack = HashMap<(Box<[u64]>, Context), [i64; 2]>;
    let mut sums: [ByStack; 2] = Default::default();
    let mut all_waiting = 0;
    for shard in &TABLE {
        let Some(shard) = lock(shard).take() else { continue };
        let mut stacks: Vec<_> = shard.stacks.into_iter().collect();
        stacks.sort_by_key(|&(_, number)| number);
        for ((stack, of, context), entry) in shard.sums {
            let stack = &stacks[stack as usize].0;
            let mut add = |stack: Box<[u64]>, values: [u64; 2]| {
                if values != [0, 0] {
                    let sum = sums[of as usize].entry((stack, context)).or_default();
                    sum[0] += values[0] as i64;
                    sum[1] += values[1] as i64;
                }
            };
            add(stack.clone(), [&entry.count, &entry.ns].map(|value| value.load(Ordering::Relaxed)));
            let (waiting, ns) = entry.waiting.waiting(now);
            add(iter::once(STILL_WAITING).chain(stack.iter().copied()).collect(), [waiting, ns]);
            all_waiting += waiting;
        }
    }
    let raw = |((stack, context), values)| Raw { stack, context, values };
    let [waits, holds] = sums.map(|sums| sums.into_iter().map(raw).collect());
    Recorded { waits, holds, waiting: all_waiting }
}

/// What a thread does that waits.
pub(super) fn state(waits_for: WaitsFor) -> State {
    match waits_for {
        WaitsFor::Lock => State::Lock,
        WaitsFor::Notification => State::Condvar,
        WaitsFor::Other => State::Blocked,
    }
}

/// What the locks tell of their waits and holds.
pub(super) struct Locks;

impl Recorder for Locks {
    fn wait(&self, session: Session, waits_for: WaitsFor, held_by: HeldBy) -> Option<Entry> {
        find(session, Of::Wait, state(waits_for) as u8, held_by)
    }

    fn waited(&self, sums: &Sums, ns: u64) {
        kept(sums, 1, ns);
    }

    fn waited_shortly(&self, session: Session, held_by: HeldBy, start: u64, ns: u64) {
        let Some((count, ns)) = weight(Of::Wait, ns, start) else { return };
        if let Some(sums) = self.wait(session, WaitsFor::Lock, held_by) {
            kept(&sums, count, ns);
        }
    }

    fn made_wait(&self, session: Session, held_by: HeldBy, waited_ns: u64) {
        // While one is about to wake up, another may take and release the lock many times.
        let Some((times, ns)) = weight(Of::Hold, waited_ns, clock::monotonic_ns()) else { return };
        let Some(entry) = find(session, Of::Hold, 0, held_by) else { return };
        entry.count.fetch_add(times, Ordering::Relaxed);
        entry.ns.fetch_add(ns, Ordering::Relaxed);
        count(&COUNTS.holds);
    }
}

/// Counts a wait, or several that it stands for.
fn kept(sums: &Sums, count: u64, ns: u64) {
    sums.count.fetch_add(count, Ordering::Relaxed);
    sums.ns.fetch_add(ns, Ordering::Relaxed);
    COUNTS.waits.fetch_add(1, Ordering::Relaxed);
}

/// For how many waits, or holds, and nanoseconds one of that length stands, if it is to be recorded: a short one is in proportion to
/// its length. `None` if others shall stand for it. `salt` is any number that differs.
fn weight(of: Of, waited: u64, salt: u64) -> Option<(u64, u64)> {
    if waited >= MIN_WAIT_NS {
        return Some((1, waited));
    }
    // Source: S. Vigna, splitmix64, <https://prng.di.unimi.it/splitmix64.c>.
    let mut random = salt.wrapping_add(hint()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    random = (random ^ random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    random = (random ^ random >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    random ^= random >> 31;
    if random % MIN_WAIT_NS < waited {
        return Some(((MIN_WAIT_NS + waited / 2) / waited, MIN_WAIT_NS));
    }
    count(&COUNTS.thinned[of as usize]);
    None
}

/// A number that a thread keeps for its life and that differs from other threads'.
fn hint() -> u64 {
    thread_local!(static PLACE: Cell<u8> = const { Cell::new(0) });
    PLACE.with(|place| std::ptr::from_ref(place) as u64)
}

/// The sums of the calling thread's stack and context.
#[inline(never)]
fn find(session: Session, of: Of, state: u8, held_by: HeldBy) -> Option<Entry> {
    /// What is done here may allocate, and an allocator may use these locks.
    struct Recording;
    thread_local!(static RECORDING: Cell<bool> = const { Cell::new(false) });
    impl Drop for Recording {
        fn drop(&mut self) {
            RECORDING.set(false);
        }
    }
    if RECORDING.replace(true) {
        count(&COUNTS.nested);
        return None;
    }
    let _recording = Recording;
    if self::session() != Some(session) {
        return None;
    }
    let mut context = Context::default();
    let sampled = stagelight::__private::sampled(&mut context.path);
    context.depth = sampled.depth as u16;
    context.labels = sampled.labels;
    context.thread = thread_name(session);
    context.state = state;
    (context.holder_stage, context.holder_labels) = held_by;
    let mut frames = [0; MAX_FRAMES];
    let (depth, complete) = stack(&mut frames);
    let first = hint().wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> 32;
    for nth in 0..SHARDS {
        let mut shard = match TABLE[(first + nth) % SHARDS].try_lock() {
            Ok(shard) => shard,
            Err(TryLockError::Poisoned(shard)) => shard.into_inner(),
            Err(TryLockError::WouldBlock) => continue,
        };
        // The session has ended.
        let entry = shard.as_mut()?.entry(of, &frames[..depth], context);
        if complete {
            count(&COUNTS.complete[of as usize]);
        }
        return Some(entry);
    }
    count(&COUNTS.busy);
    None
}

impl Shard {
    fn entry(&mut self, of: Of, frames: &[u64], mut context: Context) -> Entry {
        let stack = self.stack(frames);
        if self.sums.len() >= MAX_SUMS && !self.sums.contains_key(&(stack, of, context)) {
            context.thread = Default::default();
            count(&COUNTS.context_cap);
        }
        Arc::clone(self.sums.entry((stack, of, context)).or_default())
    }

    /// The number of a stack; that of the empty one if there is no room for it.
    fn stack(&mut self, frames: &[u64]) -> u32 {
        if let Some(&stack) = self.stacks.get(frames) {
            return stack;
        }
        let next = self.stacks.len() as u32;
        if frames.is_empty() || self.frames + frames.len() <= MAX_STACKS {
            self.frames += frames.len();
            return *self.stacks.entry(frames.into()).or_insert(next);
        }
        count(&COUNTS.stack_cap);
        self.stack(&[])
    }
}

/// The calling thread's stack: how many frames, and whether they reach the thread's start.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[inline(never)]
fn stack(frames: &mut [u64]) -> (usize, bool) {
    use crate::unwind::{End, Registers, thread_hint, walk};
    let (depth, end) = walk(Registers::here(), thread_hint(), frames);
    (depth, end == End::Start)
}

/// Here nothing can walk it.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn stack(_frames: &mut [u64]) -> (usize, bool) {
    (0, false)
}

/// The thread's name, which the kernel is asked for once a session.
fn thread_name(session: Session) -> ThreadName {
    thread_local!(static NAME: Cell<(Option<Session>, ThreadName)> = const { Cell::new((None, [0; _])) });
    let (of, mut name) = NAME.get();
    if of != Some(session) {
        name = thread_name::own();
        NAME.set((Some(session), name));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_waits_weigh_for_those_that_are_left_out() {
        for waited in [100, 1_000, 5_000, 9_999] {
            const TIMES: u64 = 200_000;
            let taken = (0..TIMES).filter_map(|salt| weight(Of::Wait, waited, salt));
            let (count, ns) = taken.fold((0, 0), |sum, (count, ns)| (sum.0 + count, sum.1 + ns));
            for (sum, truth) in [(count, TIMES), (ns, TIMES * waited)] {
                assert!((sum as f64 / truth as f64 - 1.0).abs() < 0.15, "{waited}: {sum} of {truth}");
            }
        }
        assert_eq!(weight(Of::Wait, MIN_WAIT_NS, 0), Some((1, MIN_WAIT_NS)));
    }

    #[test]
    fn what_is_beyond_the_caps_keeps_its_time() {
        let mut shard = Shard::default();
        let stacks = MAX_STACKS / MAX_FRAMES + 5;
        let before = counts();
        for number in 0..stacks {
            let frames = [number as u64; MAX_FRAMES];
            shard.entry(Of::Wait, &frames, Context::of((1, 2))).ns.fetch_add(3, Ordering::Relaxed);
        }
        assert!(counts().stack_cap >= before.stack_cap + 5);
        let total: u64 = shard.sums.values().map(|sums| sums.ns.load(Ordering::Relaxed)).sum();
        assert_eq!(total, 3 * stacks as u64);
    }
}
