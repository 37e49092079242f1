//! The trigger of a look at the counters: for each an event on every thread that raises SIGTRAP once in so many counts, so that
//! its counts can be told apart by the stage that the thread is in.

use std::cell::Cell;

use perf_event_open_sys::bindings;

use super::events::{Events, Spec};
use super::exec_guard::ExecGuard;
use super::handler::{self, Given, Recorder, Weight};
use super::perf_event::{Source, what_it_takes};
use super::rung::Trigger;
use super::{Counter, What, sigtrap};
use crate::clock;
use crate::error::Error;

/// A counter and how often it is looked at: as often as keeps the cost of looking, some 5 µs, to a few percent of what the
/// counted events themselves take. Prime numbers keep out of step with the program.
struct Counted {
    name: &'static str,
    source: Source,
    period: u64,
    /// Whether there is nothing to count in user code.
    kernel_only: bool,
}

const fn hardware(name: &'static str, config: u32, period: u64) -> Counted {
    Counted { name, source: Source::hardware(config), period, kernel_only: false }
}

const fn software(name: &'static str, config: u32, period: u64) -> Counted {
    Counted { name, source: Source::software(config), period, kernel_only: false }
}

const COUNTED: [Counted; 9] = [
    hardware("cycles", bindings::PERF_COUNT_HW_CPU_CYCLES, 9_999_991),
    hardware("instructions", bindings::PERF_COUNT_HW_INSTRUCTIONS, 9_999_991),
    hardware("cache_misses", bindings::PERF_COUNT_HW_CACHE_MISSES, 10_007),
    hardware("branch_misses", bindings::PERF_COUNT_HW_BRANCH_MISSES, 50_021),
    software("page_faults", bindings::PERF_COUNT_SW_PAGE_FAULTS, 127),
    software("major_faults", bindings::PERF_COUNT_SW_PAGE_FAULTS_MAJ, 1),
    Counted {
        kernel_only: true,
        ..software("context_switches", bindings::PERF_COUNT_SW_CONTEXT_SWITCHES, 61)
    },
    Counted { kernel_only: true, ..software("migrations", bindings::PERF_COUNT_SW_CPU_MIGRATIONS, 7) },
    software("task_clock_ns", bindings::PERF_COUNT_SW_TASK_CLOCK, 9_999_991),
];

/// Where the events' marks begin.
const FIRST_MARK: u64 = 16;

thread_local! {
    /// The session, and what the thread's own accounts stood at as each counter was last sampled in it. Constant and without
    /// a destructor, so that a handler can read it at any time.
    static LAST: Cell<[(u64, u64); COUNTED.len()]> = const { Cell::new([(0, 0); COUNTED.len()]) };
}

/// The events in the order of `COUNTED`, with whether they see user code alone; or why there are none.
pub(super) struct Counting(Vec<Result<(Events, bool), String>>);

impl Counting {
    pub(super) fn start() -> Result<Self, Error> {
        sigtrap::prepare(COUNTED.len() as u64)?;
        stagelight::__private::set_thread_observer(on_first_stage);
        let guard = ExecGuard::for_kernel().map_err(|error| what_it_takes(&error));
        let events: Vec<_> =
            COUNTED.iter().zip(FIRST_MARK..).map(|(counted, mark)| open(counted, mark, &guard)).collect();
        if events.iter().all(Result::is_err) {
            let reasons: Vec<_> = COUNTED
                .iter()
                .zip(&events)
                .filter_map(|(counted, event)| Some(format!("{}: {}", counted.name, event.as_ref().err()?)))
                .collect();
            return Err(Error::Refused(format!(
                "no counter can be had here: {}. Allow perf_event_open (in a container: its seccomp profile or \
                 CAP_PERFMON; else kernel.perf_event_paranoid at 2 or less)",
                reasons.join("; ")
            )));
        }
        Ok(Self(events))
    }
}

impl Trigger for Counting {
    fn name(&self) -> &'static str {
        "counters"
    }

    fn limits(&self) -> &'static str {
        "fewer counts on a thread than lie between two samples may leave no trace but in the total"
    }

    fn signal(&self) -> libc::c_int {
        libc::SIGTRAP
    }

    fn threads_missed(&self) -> u64 {
        self.0.iter().flatten().map(|(events, _)| events.refused.len() as u64).max().unwrap_or(0)
    }

    fn counters(&self) -> Vec<Counter> {
        let reading = |(counted, event): (&Counted, &Result<(Events, bool), String>)| match event {
            Ok((events, user_only)) => {
                let total = events.total();
                // Where the hardware took turns, what it missed is as what it saw.
                let count = total.count as f64 / total.running.max(f64::MIN_POSITIVE);
                Counter {
                    name: counted.name,
                    absent: None,
                    total: count as u64,
                    user_only: *user_only,
                    running: total.running,
                }
            }
            Err(why) => Counter {
                name: counted.name,
                absent: Some(why.clone()),
                total: 0,
                user_only: false,
                running: 0.0,
            },
        };
        COUNTED.iter().zip(&self.0).map(reading).collect()
    }
}

/// With the kernel's part if there is a guard for it; else without, or why not.
fn open(counted: &Counted, mark: u64, guard: &Result<ExecGuard, String>) -> Result<(Events, bool), String> {
    if let (Err(why), true) = (guard, counted.kernel_only) {
        return Err(why.clone());
    }
    let kernel = guard.as_ref().ok();
    let spec = Spec { source: counted.source, period: counted.period, mark, kernel };
    match Events::open(spec).and_then(|events| events.enable().map(|()| events)) {
        Ok(events) => Ok((events, kernel.is_none())),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            Err("this machine offers none: ENOENT".into())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// From its first stage on it is known what a thread that starts meanwhile counts.
fn on_first_stage(_tid: u32) {
    handler::with_armed(|recorder| {
        if matches!(recorder.what, What::Counters) {
            let now = COUNTED.each_ref().map(|counted| (recorder.number, counted.account().unwrap_or(0)));
            LAST.set(now);
        }
    });
}

/// Whether the mark is a counter's.
pub(super) fn is_mark(mark: u64) -> bool {
    (FIRST_MARK..FIRST_MARK + COUNTED.len() as u64).contains(&mark)
}

/// Takes samples without a stack: of the counter with that mark, and of others that are due as well. Of signals that come at
/// once the kernel delivers one.
///
/// # Safety
/// `context` is the third argument of the running handler, and the mark is a counter's.
pub(super) unsafe fn on_count(mark: u64, context: *const libc::c_void) {
    let due = (mark - FIRST_MARK) as usize;
    for (counter, counted) in COUNTED.iter().enumerate() {
        match handler::with_armed(|recorder| counted.reckon(recorder, counter, counter == due)) {
            Some(Some(ns)) => {
                let given = Given { count: 1, ns, state: counter as u8, walk: false };
                // SAFETY: by the caller's promise.
                unsafe { handler::sample(Weight::Given(given), context) };
            }
            Some(None) => {}
            None => {
                handler::came_late();
                return;
            }
        }
    }
}

impl Counted {
    /// What a sample of the counter stands for, if it is due: a period, or by the thread's own account what happened since its
    /// last sample, because many events within one system call raise a single signal.
    fn reckon(&self, recorder: &Recorder, counter: usize, signalled: bool) -> Option<u64> {
        let What::Counters = recorder.what else { return None };
        let Some(now) = self.account() else { return signalled.then_some(self.period) };
        let mut all = LAST.get();
        let (session, last) = all[counter];
        let weight = if session == recorder.number { now.saturating_sub(last) } else { self.period.min(now) };
        let least = if signalled { 1 } else { self.period };
        if weight < least || !(signalled || session == recorder.number) {
            return None;
        }
        all[counter] = (recorder.number, now);
        LAST.set(all);
        Some(weight)
    }

    /// The kernel's own account of the event for the calling thread, if it keeps one. Async-signal-safe.
    fn account(&self) -> Option<u64> {
        if self.source.kind != bindings::PERF_TYPE_SOFTWARE {
            return None;
        }
        // SAFETY: all-zero is a valid `rusage`, and the call writes to it alone; it is a plain system call.
        let usage = || unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
            usage
        };
        let both = |one: i64, other: i64| Some((one + other) as u64);
        match self.source.config {
            bindings::PERF_COUNT_SW_PAGE_FAULTS => both(usage().ru_minflt, usage().ru_majflt),
            bindings::PERF_COUNT_SW_PAGE_FAULTS_MAJ => both(usage().ru_majflt, 0),
            bindings::PERF_COUNT_SW_CONTEXT_SWITCHES => both(usage().ru_nvcsw, usage().ru_nivcsw),
            bindings::PERF_COUNT_SW_TASK_CLOCK => Some(clock::own_cpu_ns()),
            _ => None,
        }
    }
}
