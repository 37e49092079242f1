//! The trigger of wall-clock profiles: a thread of ours that visits one thread after another, looks in `/proc` whether it
//! runs or waits, and has it sample itself by a signal, which interrupts what it waits in.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::handler::{self, Given, Recorder, Weight};
use super::queued::{self, Purpose};
use super::random::Random;
use super::rung::Trigger;
use super::{What, sigurg, tasks};
use crate::clock;
use crate::error::Error;
use crate::own_threads;
use crate::profile::State;

/// Visits a second of all threads together. Where that is less than was asked for, each thread is visited less often, and
/// its samples weigh more.
pub(super) const PER_SECOND: u64 = 2_000;

/// Time of our own threads in the running session. They are not visited.
static OWN_NS: AtomicU64 = AtomicU64::new(0);

/// Whether a visit may still be under way.
static VISITED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The session and the moment of the thread's last sample in it. Constant and without a destructor, so that a handler can
    /// read it at any time.
    static LAST: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

pub(super) struct Walker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Walker {
    pub(super) fn start(hz: u32) -> Result<Self, Error> {
        sigurg::install()?;
        VISITED.store(true, Ordering::Relaxed);
        OWN_NS.store(0, Ordering::Relaxed);
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("stagelight-wall".into())
            .spawn(move || {
                stagelight::__private::count_own_thread();
                walk(1_000_000_000 / u64::from(hz), &stopped);
            })
            .map_err(|error| Error::Io("no thread to visit the others".into(), error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Trigger for Walker {
    fn name(&self) -> &'static str {
        "sampler-thread"
    }

    fn limits(&self) -> &'static str {
        "a thread of the profiler's visits the others by a signal, no more than 2,000 times a second in all; a call that waits \
         may end early with EINTR; a thread that lives shorter than the time between two visits gets no sample"
    }

    fn signal(&self) -> libc::c_int {
        libc::SIGURG
    }
}

impl Drop for Walker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its thread.
            let _ = thread.join();
        }
    }
}

/// Time of our own threads in the session that has just ended, in nanoseconds.
pub(super) fn own_ns(what: What) -> u64 {
    match what {
        What::Wall { .. } => OWN_NS.load(Ordering::Relaxed),
        _ => 0,
    }
}

/// Visits threads until told to stop or left alone.
fn walk(period_ns: u64, stop: &Receiver<()>) {
    let at_once = ((PER_SECOND * period_ns / 1_000_000_000) as usize).max(1);
    let start = clock::monotonic_ns();
    // Since when each thread is known, and for how long it has been out of sight when that began.
    let mut known: HashMap<i32, u64> = HashMap::new();
    // Up to when the time of our own threads is counted.
    let mut counted: HashMap<i32, u64> = HashMap::new();
    let mut next = 0;
    let mut random = Random::new();
    loop {
        // From a half to one and a half of the period: out of step with what threads do at round times.
        let pause = period_ns / 2 + random.below(period_ns);
        let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(Duration::from_nanos(pause)) else { return };
        let now = clock::monotonic_ns();
        let threads = tasks::list();
        // At the first look all began before; later a newcomer stands for the time of a look.
        let since = if known.is_empty() { start } else { now.saturating_sub(period_ns).max(start) };
        known = threads.iter().map(|tid| (*tid, known.get(tid).copied().unwrap_or(since))).collect();
        let count = threads.len().min(at_once);
        for step in 0..count {
            let tid = threads[(next + step) % threads.len()];
            match look(tid) {
                Some(Seen::Programs(state)) => visit(tid, state, now.saturating_sub(known[&tid])),
                Some(Seen::Own) => {
                    let since = counted.insert(tid, now).unwrap_or(known[&tid]);
                    OWN_NS.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
                }
                None => {}
            }
        }
        next = if threads.is_empty() { 0 } else { (next + count) % threads.len() };
    }
}

/// A thread at a look.
enum Seen {
    /// One of the program's, and what it does.
    Programs(State),
    Own,
}

/// Looks at a thread. `None` for one that ended.
/// Source: proc_pid_stat(5).
fn look(tid: i32) -> Option<Seen> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (name, rest) = stat.rsplit_once(')')?;
    if name.split_once('(').is_some_and(|(_, name)| own_threads::is_own(name.as_bytes())) {
        return Some(Seen::Own);
    }
    match rest.trim_start().chars().next()? {
        'R' => Some(Seen::Programs(State::Running)),
        'Z' | 'X' => None,
        _ => Some(Seen::Programs(State::Waiting)),
    }
}

/// Two bits of a visit's value are the state, the others the time that a first sample stands for.
const STATE_BITS: u32 = 2;

/// One that has ended is refused, which harms nobody.
fn visit(tid: i32, state: State, first_ns: u64) {
    let _ = queued::send(tid, Purpose::Visit, first_ns << STATE_BITS | state as u64);
}

/// Whether a visit may still be under way. Async-signal-safe.
pub(super) fn may_visit() -> bool {
    VISITED.load(Ordering::Relaxed)
}

/// Takes a sample of the visited thread. A visit that could say nothing has the value 0.
///
/// # Safety
/// `context` is the third argument of the running handler.
pub(super) unsafe fn on_visit(value: u64, context: *const libc::c_void) {
    match handler::with_armed(|recorder| reckon(recorder, value)) {
        // SAFETY: by the caller's promise.
        Some(Some(given)) => unsafe { handler::sample(Weight::Given(given), context) },
        Some(None) => {}
        None => handler::came_late(),
    }
}

fn reckon(recorder: &Recorder, value: u64) -> Option<Given> {
    let What::Wall { .. } = recorder.what else { return None };
    let now = clock::monotonic_ns();
    // Since the thread's last sample, not the last visit: a signal may have been blocked, or late.
    let ns = match LAST.get() {
        (session, last) if session == recorder.number => now.saturating_sub(last),
        _ => value >> STATE_BITS,
    };
    LAST.set((recorder.number, now));
    let state = (value & ((1 << STATE_BITS) - 1)) as u8;
    Some(Given { count: 1, ns, state, walk: true })
}
