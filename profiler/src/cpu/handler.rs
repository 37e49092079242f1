//! What runs in a signal handler: from the interrupted registers to a sample in the ring.
//!
//! It allocates nothing, locks nothing and calls nothing that is not async-signal-safe. It leaves `errno` as it
//! was, holds on anything that the interrupted code may have been in the midst of, and uses little of its stack: the
//! walk brings one of its own.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::What;
use super::kernel_records;
use super::ring::{MAX_FRAMES, Ring};
use super::roll::{self, Note};
use super::stands::Began;
use super::system_time::{Accounted, Balance};
use crate::armed::Armed;
use crate::clock;
use crate::focus::Focus;
use crate::profile::{Context, KERNEL, KERNEL_UNCALLED, NOT_IN_FOCUS};
use crate::thread_name::{self, ThreadName};
use crate::unwind::{End, Registers, thread_hint, walk};

/// What the handlers of one session write to.
pub(super) struct Recorder {
    pub(super) ring: Ring,
    /// Tells this session from earlier ones, whose marks threads may still carry.
    pub(super) number: u64,
    pub(super) what: What,
    /// When the session began, in nanoseconds of the monotonic clock.
    pub(super) started: u64,
    /// For an off-CPU profile, where the threads stood as it began.
    pub(super) began: OnceLock<Began>,
    /// Whether the waits that the profile's end falls into are being counted.
    pub(super) closing: AtomicBool,
    /// What alone is sampled in full.
    pub(super) only: OnceLock<Vec<Focus>>,
}

impl Recorder {
    /// Whether what a thread is in shall be sampled in full. Async-signal-safe.
    pub(super) fn in_focus(&self, context: &Context) -> bool {
        let Some(only) = self.only.get() else { return true };
        only.iter().all(|focus| focus.holds(context.stages(), context.labels))
    }

    /// Looks at the stages that came since the last time.
    pub(super) fn learn(&self) {
        self.only.get().into_iter().flatten().for_each(Focus::learn);
    }
}

/// How a sample is weighed.
pub(super) enum Weight {
    /// By the CPU time that the thread used since its last sample: right also where ticks were lost, or fell into
    /// the kernel while only user code may be sampled, and after a sample that was refused.
    SinceLast,
    /// By a number of periods that the kernel counted.
    Periods(u64),
    /// As the trigger has reckoned.
    Given(Given),
}

/// What a sample stands for, by its trigger's own reckoning.
#[derive(Clone, Copy)]
pub(super) struct Given {
    /// Events.
    pub(super) count: u64,
    /// Nanoseconds.
    pub(super) ns: u64,
    /// What the thread did: a [`State`](crate::profile::State) by its number, or the number of a counter.
    pub(super) state: u8,
    /// Whether the stack shall be walked, and the thread and trace named.
    pub(super) walk: bool,
}

/// What a handler takes at most on a core of its own: a walk of the deepest stack with cold caches.
const LONGEST_NS: u64 = 50_000;

/// The functions of the kernel leave room for the program's.
const _: () = assert!(kernel_records::MOST < MAX_FRAMES / 2);

static RECORDER: Armed<Recorder> = Armed::new();

/// Signals of ours that arrived and were to give a sample, since the process started. Each is counted once more below.
pub(super) static TAKEN: AtomicU64 = AtomicU64::new(0);
/// Samples that were kept, since the process started: counters never fall, whatever becomes of a session.
pub(super) static KEPT: AtomicU64 = AtomicU64::new(0);
/// Samples refused because the drain had fallen behind.
pub(super) static RING_FULL: AtomicU64 = AtomicU64::new(0);
/// Signals that arrived when no profile ran.
pub(super) static LATE: AtomicU64 = AtomicU64::new(0);
/// Time spent in the handler, in nanoseconds.
pub(super) static HANDLER_NS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Constant and without a destructor, so that a handler can read it at any time.
    static LAST: Cell<Option<Last>> = const { Cell::new(None) };

    /// Whether the thread is taking a sample: for those who test that nothing allocates meanwhile.
    static SAMPLING: Cell<bool> = const { Cell::new(false) };
}

/// Where a thread stood at its last sample.
#[derive(Clone, Copy)]
struct Last {
    session: u64,
    /// Its CPU time.
    cpu: u64,
    balance: Balance,
}

/// Lets handlers write to the recorder.
pub(super) fn arm(recorder: Box<Recorder>) {
    RECORDER.arm(recorder);
}

/// Calls `look` with the recorder that is armed, if one is.
pub(super) fn with_armed<R>(look: impl FnOnce(&Recorder) -> R) -> Option<R> {
    RECORDER.with(look)
}

/// Takes the recorder away once no handler uses it, and hands it to `last_look`.
pub(super) fn disarm(last_look: impl FnOnce(&Recorder)) {
    RECORDER.disarm(last_look);
}

/// Takes a sample of the calling thread.
///
/// # Safety
/// `context` is the third argument of the running handler.
pub(super) unsafe fn sample(weight: Weight, context: *const libc::c_void) {
    // SAFETY: by the caller's promise.
    unsafe { sample_within(weight, None, context) };
}

/// Takes a sample of the calling thread, of which is known what the kernel was doing for it as the
/// sample fell due: its functions, innermost first, or none if it ran its own code.
///
/// # Safety
/// As for [`sample`].
pub(super) unsafe fn sample_within(weight: Weight, kernel: Option<&[u64]>, context: *const libc::c_void) {
    TAKEN.fetch_add(1, Ordering::Relaxed);
    SAMPLING.set(true);
    // A signal may outlive its profile, and meet one of another kind.
    let fits =
        |recorder: &Recorder| matches!(recorder.what, What::Cpu { .. }) != matches!(weight, Weight::Given(_));
    let take = |recorder: &Recorder| {
        // SAFETY: by the caller's promise.
        fits(recorder).then(|| unsafe { record(recorder, &weight, kernel, context) })
    };
    if with_armed(take).flatten().is_none() {
        LATE.fetch_add(1, Ordering::Relaxed);
    }
    SAMPLING.set(false);
}

/// Counts a signal that came when no profile ran, of a trigger that looks before it has a sample taken. Async-signal-safe.
pub(super) fn came_late() {
    TAKEN.fetch_add(1, Ordering::Relaxed);
    LATE.fetch_add(1, Ordering::Relaxed);
}

/// Whether the calling thread is taking a sample. Async-signal-safe.
pub(super) fn sampling() -> bool {
    SAMPLING.get()
}

/// # Safety
/// As for [`sample`].
unsafe fn record(recorder: &Recorder, weight: &Weight, kernel: Option<&[u64]>, context: *const libc::c_void) {
    // SAFETY: errno is the thread's own.
    let errno = unsafe { *libc::__errno_location() };
    let start = clock::monotonic_ns();
    // SAFETY: by the caller's promise.
    let registers = unsafe { Registers::interrupted(context) };
    let thread = clock::own_cpu_ns();
    // A thread's first sample counts nothing from before the session, even if it is of a signal that came late from the
    // one before, or of a thread that was found late.
    let elapsed = start.saturating_sub(recorder.started);
    let last = LAST.get().filter(|last| last.session == recorder.number);
    let period = recorder.what.period();
    let (mut count, mut state, mut whole) = (1, 0, true);
    let weight = match (weight, last) {
        (Weight::Given(given), _) => {
            (count, state, whole) = (given.count, given.state, given.walk);
            given.ns
        }
        (Weight::SinceLast, Some(last)) => thread.saturating_sub(last.cpu),
        (Weight::SinceLast, None) => {
            let used = match roll::own_note() {
                Note::Of(start) => thread.saturating_sub(start),
                Note::New => thread,
                Note::Unknown => period.min(thread),
            };
            used.min(elapsed)
        }
        (Weight::Periods(periods), Some(_)) => periods * period,
        (Weight::Periods(periods), None) => match roll::own_note() {
            Note::Of(before) => periods * period + before.min(elapsed),
            Note::New | Note::Unknown => periods * period,
        },
    };
    let mut balance = last.map(|last| last.balance).unwrap_or_default();
    let (functions, within, kernel_ns) = if matches!(recorder.what, What::Cpu { .. }) {
        let (functions, within) = match kernel {
            Some(functions) => (functions, !functions.is_empty()),
            None => (&[][..], in_system_call(&registers)),
        };
        let kernel_ns = match Accounted::own() {
            Some(accounted) => {
                if last.is_none() {
                    balance = Balance::first(accounted, weight);
                }
                balance.draw(accounted, weight, period, within)
            }
            // Then where samples fall is all that is known.
            None => weight * u64::from(within),
        };
        (functions, within, kernel_ns)
    } else {
        // Who waits is in the kernel in any case.
        (&[][..], false, 0)
    };
    // A sample whose walk found no cache is kept without a stack: its time and its labels are right.
    let kept = recorder.ring.push(|sample| {
        sample.context = context_now(recorder.number, whole);
        sample.context.state = state;
        (sample.count, sample.weight, sample.kernel) = (count, weight, kernel_ns);
        sample.kernel_frames = 0;
        if kernel_ns > 0 {
            sample.frames[..functions.len()].copy_from_slice(functions);
            sample.frames[functions.len()] = if within { KERNEL } else { KERNEL_UNCALLED };
            sample.kernel_frames = functions.len() + 1;
        }
        if !recorder.in_focus(&sample.context) {
            sample.frames[0] = NOT_IN_FOCUS;
            (sample.depth, sample.kernel_frames, sample.complete) = (1, 0, false);
            return;
        }
        let above = sample.kernel_frames;
        let (depth, end) = match whole {
            true => walk(registers, thread_hint(), &mut sample.frames[above..]),
            false => (0, End::Full),
        };
        sample.depth = above + depth;
        sample.complete = end == End::Start;
    });
    if kept {
        KEPT.fetch_add(1, Ordering::Relaxed);
        LAST.set(Some(Last { session: recorder.number, cpu: thread, balance }));
    } else {
        RING_FULL.fetch_add(1, Ordering::Relaxed);
        if last.is_none() {
            // What the next one weighs begins with this one's period.
            let cpu = thread.saturating_sub(period);
            LAST.set(Some(Last { session: recorder.number, cpu, balance }));
        }
    }
    // A thread that lost its core meanwhile has not spent that time here.
    let spent = clock::monotonic_ns().saturating_sub(start).min(LONGEST_NS);
    HANDLER_NS.fetch_add(spent, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// What the thread is in, the `whole` of it or stages and labels alone.
fn context_now(session: u64, whole: bool) -> Context {
    let mut context = Context::default();
    let sampled = stagelight::__private::sampled(&mut context.path);
    context.depth = sampled.depth as u16;
    context.labels = sampled.labels;
    if whole {
        context.trace = sampled.trace;
        context.thread = thread_name(session);
    }
    context
}

/// Whether the thread is about to come back from a system call. A sample that falls due in the kernel waits until then, so that
/// is where it fell. What the kernel does of itself, such as a page fault, is not told from the code that it interrupts.
fn in_system_call(registers: &Registers) -> bool {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    const PAGE: u64 = 4096;
    let at = registers.ip.wrapping_sub(2);
    // The instruction before lies on the page that the thread runs on, or else nothing is known of its page.
    if registers.ip % PAGE < 2 {
        return false;
    }
    // SAFETY: the thread executes on this page, so it is mapped, and x86_64 has no code that can't be read but with protection
    // keys, which nobody uses for code.
    SYSCALL == unsafe { (at as *const [u8; 2]).read_volatile() }
}

/// The thread's name. The kernel is asked at the thread's first sample in a session; there is
/// nobody to ask once the thread has ended.
fn thread_name(session: u64) -> ThreadName {
    thread_local!(static NAME: Cell<(u64, ThreadName)> = const { Cell::new((0, [0; _])) });
    let (of, mut name) = NAME.get();
    if of != session {
        name = thread_name::own();
        NAME.set((session, name));
    }
    name
}
