//! What runs in a signal handler: from the interrupted registers to a sample in the ring.
//!
//! It allocates nothing, locks nothing and calls nothing that is not async-signal-safe. It leaves `errno` as it
//! was, and it holds on anything that the interrupted code may have been in the midst of.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::ring::{MAX_FRAMES, Ring};
use super::tasks;
use crate::unwind::{End, Registers, walk};

/// What the handlers of one session write to.
pub(super) struct Recorder {
    pub(super) ring: Ring,
    /// Tells this session from earlier ones, whose marks threads may still carry.
    pub(super) number: u64,
    /// CPU time between two samples, in nanoseconds.
    pub(super) period: u64,
    pub(super) kept: AtomicU64,
    pub(super) ring_full: AtomicU64,
    pub(super) unwinder_busy: AtomicU64,
    /// Time spent in the handler, in nanoseconds of the monotonic clock.
    pub(super) handler_ns: AtomicU64,
}

/// How a sample is weighed.
pub(super) enum Weight {
    /// By the CPU time that the thread used since its last sample: right also where ticks were lost, or fell into
    /// the kernel while only user code may be sampled.
    SinceLast,
    /// By a number of periods that the kernel counted.
    Periods(u64),
}

static RECORDER: AtomicPtr<Recorder> = AtomicPtr::new(std::ptr::null_mut());

/// Handlers and readers that may hold a reference to the recorder.
static USERS: AtomicUsize = AtomicUsize::new(0);

/// Signals that arrived when no profile ran.
pub(super) static LATE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The session and the thread's CPU time at its last sample in it. Constant and without a destructor, so that
    /// a handler can read it at any time.
    static LAST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Lets handlers write to the recorder.
pub(super) fn arm(recorder: Box<Recorder>) {
    RECORDER.store(Box::into_raw(recorder), Ordering::SeqCst);
}

/// Calls `look` with the recorder that is armed, if one is.
pub(super) fn with_armed<R>(look: impl FnOnce(&Recorder) -> R) -> Option<R> {
    USERS.fetch_add(1, Ordering::SeqCst);
    // SAFETY: null, or a box that is not taken away while this is counted as running.
    let result = unsafe { RECORDER.load(Ordering::SeqCst).as_ref() }.map(look);
    USERS.fetch_sub(1, Ordering::SeqCst);
    result
}

/// Takes the recorder away once no handler uses it. `None` if none was armed, or if a handler did not end in a
/// second, which would take a thread stopped in its midst: then the recorder is left to it for ever.
pub(super) fn disarm() -> Option<Box<Recorder>> {
    let recorder = RECORDER.swap(std::ptr::null_mut(), Ordering::SeqCst);
    if recorder.is_null() {
        return None;
    }
    for _ in 0..1000 {
        if USERS.load(Ordering::SeqCst) == 0 {
            // SAFETY: it came from `Box::into_raw`; handlers that start now find null, and none is running.
            return Some(unsafe { Box::from_raw(recorder) });
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    None
}

/// Takes a sample of the calling thread.
///
/// # Safety
/// `context` is the third argument of the running handler.
pub(super) unsafe fn sample(weight: Weight, context: *const libc::c_void) {
    // SAFETY: by the caller's promise.
    if with_armed(|recorder| unsafe { record(recorder, weight, context) }).is_none() {
        LATE.fetch_add(1, Ordering::Relaxed);
    }
}

/// # Safety
/// As for [`sample`].
unsafe fn record(recorder: &Recorder, weight: Weight, context: *const libc::c_void) {
    // SAFETY: errno is the thread's own.
    let errno = unsafe { *libc::__errno_location() };
    let start = tasks::cpu_ns(libc::CLOCK_MONOTONIC);
    // SAFETY: by the caller's promise.
    let registers = unsafe { Registers::interrupted(context) };
    let thread = tasks::cpu_ns(libc::CLOCK_THREAD_CPUTIME_ID);
    let weight = match weight {
        Weight::Periods(periods) => periods * recorder.period,
        Weight::SinceLast => match LAST.get() {
            (session, last) if session == recorder.number => thread.saturating_sub(last),
            _ => recorder.period.min(thread),
        },
    };
    let (stage, labels) = stagelight::__private::current();
    let mut frames = [0; MAX_FRAMES];
    let (depth, end) = walk(registers, thread_hint(), &mut frames);
    if end == End::Busy {
        recorder.unwinder_busy.fetch_add(1, Ordering::Relaxed);
    } else if recorder.ring.push(|sample| {
        sample.context = (stage, labels);
        sample.weight = weight;
        sample.complete = end == End::Start;
        sample.depth = depth;
        sample.frames[..depth].copy_from_slice(&frames[..depth]);
    }) {
        recorder.kept.fetch_add(1, Ordering::Relaxed);
        // After a refused sample the next one carries its weight.
        LAST.set((recorder.number, thread));
    } else {
        recorder.ring_full.fetch_add(1, Ordering::Relaxed);
    }
    let spent = tasks::cpu_ns(libc::CLOCK_MONOTONIC).saturating_sub(start);
    recorder.handler_ns.fetch_add(spent, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// A number that a thread keeps for its life: the address of its thread-local, in pages.
fn thread_hint() -> usize {
    LAST.with(|last| std::ptr::from_ref(last) as usize >> 12)
}
