//! The trigger of off-CPU profiles: a context-switch event on every thread that raises SIGTRAP in the thread as it comes
//! back to the CPU. It interrupts no system call, because the signal is raised once the wait is over.
//!
//! How long the thread was away is what the wall clock went on and the thread's CPU clock did not, since the thread's last
//! switch: nobody need note when it left. What it waited for is where it stands now.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use perf_event_open_sys::bindings;

use super::events::{Events, Spec};
use super::exec_guard::ExecGuard;
use super::handler::{self, Given, Recorder, Weight};
use super::perf_event::{Source, what_it_takes};
use super::ring::Sample;
use super::rung::Trigger;
use super::stands::{Began, Entry, Stand};
use super::thinning;
use super::{What, sigtrap, stands, still_waiting, tasks};
use crate::clock;
use crate::error::Error;
use crate::profile::State;

/// By which the event's signals are told from others.
pub(super) const MARK: u64 = 1;

/// Switches that were not sampled, since the process started.
pub(super) static THINNED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The session and where the thread stood at its last switch in it. Constant and without a destructor, so that a
    /// handler can read it at any time.
    static LAST: Cell<(u64, Stand)> =
        const { Cell::new((0, Stand { wall: 0, cpu: 0, switches: [0; 2] })) };
}

pub(super) struct Switches(Events);

impl Switches {
    pub(super) fn start() -> Result<Self, Error> {
        sigtrap::prepare(1).map_err(|error| refused(&error.to_string()))?;
        // Switches happen in the kernel.
        let guard = ExecGuard::for_kernel().map_err(|error| refused(&what_it_takes(&error)))?;
        stands::FIRST.store(0, Ordering::Relaxed);
        thinning::reset();
        stands::reset();
        stagelight::__private::set_thread_observer(on_first_stage);
        let events = Events::open(Spec {
            source: Source::software(bindings::PERF_COUNT_SW_CONTEXT_SWITCHES),
            period: 1,
            mark: MARK,
            kernel: Some(&guard),
        });
        let events = events.and_then(|events| events.enable().map(|()| events));
        let events = events.map_err(|error| refused(&what_it_takes(&error)))?;
        // From here on who leaves the CPU raises an event.
        handler::with_armed(|recorder| recorder.began.set(Began::now()));
        Ok(Self(events))
    }
}

impl Trigger for Switches {
    fn name(&self) -> &'static str {
        "context-switches"
    }

    fn limits(&self) -> &'static str {
        "a wait counts if it begins while the profile runs, or lasts throughout; short ones are sampled in proportion to their \
         length, and weigh for the others"
    }

    fn signal(&self) -> libc::c_int {
        libc::SIGTRAP
    }

    fn threads_missed(&self) -> u64 {
        self.0.refused.len() as u64
    }

    fn end(&mut self, take: &mut dyn FnMut(&Sample)) -> Vec<String> {
        handler::with_armed(|recorder| still_waiting::count(recorder, take)).unwrap_or_default()
    }
}

fn refused(reason: &str) -> Error {
    Error::Refused(format!(
        "an off-CPU profile takes the kernel's context-switch events, which can't be had here: {reason}. \
         stagelight_profiler::wall() (in the control API /debug/pprof/wall) shows waits without them, at the price of \
         interrupting them"
    ))
}

/// Waits whose beginning is not known, of the session that has just ended.
pub(super) fn first_waits(what: What) -> u64 {
    match what {
        What::OffCpu { .. } => stands::FIRST.load(Ordering::Relaxed),
        _ => 0,
    }
}

impl Stand {
    /// Where the calling thread stands. Async-signal-safe.
    fn here() -> Self {
        // SAFETY: all-zero is a valid `rusage`, and the call writes to it alone; it is a plain system call.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
            usage
        };
        Self {
            wall: clock::monotonic_ns(),
            cpu: clock::own_cpu_ns(),
            switches: [usage.ru_nvcsw, usage.ru_nivcsw],
        }
    }

    /// Notes it, for the calling thread and for who looks from outside. Async-signal-safe.
    fn note(self, recorder: &Recorder) {
        LAST.set((recorder.number, self));
        if let Some(entry) = stands::own(recorder.number) {
            entry.note(self.wall, self.cpu);
        }
    }

    /// Where the calling thread stood at its last switch in the session, or as the session began. Async-signal-safe.
    fn last(recorder: &Recorder) -> Option<Self> {
        match LAST.get() {
            (session, last) if session == recorder.number => Some(last),
            _ => recorder.began.get()?.running(tasks::own()),
        }
    }
}

/// A thread that started meanwhile is known from its first stage on, or else from its first switch.
fn on_first_stage(_tid: u32) {
    handler::with_armed(|recorder| {
        if matches!(recorder.what, What::OffCpu { .. }) && Stand::last(recorder).is_none() {
            Stand::here().note(recorder);
        }
    });
}

/// Takes a sample of the wait that has just ended, if the draw falls on it.
///
/// # Safety
/// `context` is the third argument of the running handler.
pub(super) unsafe fn on_switch(context: *const libc::c_void) {
    match handler::with_armed(reckon) {
        // SAFETY: by the caller's promise.
        Some(Some(given)) => unsafe { handler::sample(Weight::Given(given), context) },
        Some(None) => {}
        None => handler::came_late(),
    }
}

/// What the wait that has just ended shall weigh, if it is sampled.
fn reckon(recorder: &Recorder) -> Option<Given> {
    let What::OffCpu { .. } = recorder.what else { return None };
    let now = Stand::here();
    let last = Stand::last(recorder);
    now.note(recorder);
    if recorder.closing.load(Ordering::Acquire) && !stands::own(recorder.number).is_none_or(Entry::count) {
        return None;
    }
    let last = last.unwrap_or_else(|| {
        stands::FIRST.fetch_add(1, Ordering::Relaxed);
        // All its time so far, on the CPU: a wait of no length.
        Stand { wall: now.wall.saturating_sub(now.cpu), ..Stand::default() }
    });
    let wait = now.wall.saturating_sub(last.wall).saturating_sub(now.cpu.saturating_sub(last.cpu));
    let [voluntary, preempted] = [0, 1].map(|kind| now.switches[kind] > last.switches[kind]);
    let state = if preempted && !voluntary { State::Preempted } else { State::Waiting };
    let drawn = thinning::draw(wait, recorder.what.period(), now.wall);
    if drawn.is_none() {
        THINNED.fetch_add(1, Ordering::Relaxed);
        let spent = clock::monotonic_ns().saturating_sub(now.wall);
        handler::HANDLER_NS.fetch_add(spent, Ordering::Relaxed);
    }
    let (count, ns) = drawn?;
    Some(Given { count, ns, state: state as u8, walk: true })
}
