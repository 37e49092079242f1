//! What runs at this instant, and what ran at each instant of the last minutes: active query history.
//!
//! Every block says at any time what its thread is in, so a look costs some loads a thread: no signal, no permission, no
//! stack. Where the system tells whether a thread is on a core, the state of its thread is read too.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::record::labels::{LabelKind, label_set};
use crate::record::registry;
use crate::record::stage::stage_by_id;

/// What a thread that is in a stage does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadState {
    /// On a core, or waiting for one: the system does not tell them apart.
    Running,
    /// Waiting for a lock, for input, for time to pass.
    Waiting,
    /// Waiting for a disk.
    Disk,
    /// The system does not say.
    Unknown,
    /// Not on any thread: an async query that waits to be polled.
    Awaiting,
}

impl ThreadState {
    /// The name in reports and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ThreadState::Running => "running",
            ThreadState::Waiting => "waiting",
            ThreadState::Disk => "disk",
            ThreadState::Unknown => "unknown",
            ThreadState::Awaiting => "awaiting",
        }
    }
}

/// A thread that is in a stage at some instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Its id.
    pub thread: u32,
    /// The stages that it is in, outermost first.
    pub path: Vec<&'static str>,
    /// The statement, tenant, user and database of its query, in the order of [`LabelKind::ALL`]; empty where unsaid.
    pub labels: [&'static str; LabelKind::ALL.len()],
    /// What it does.
    pub state: ThreadState,
    /// For how long its query has run; `None` if it is in no query or that is not timed.
    pub running: Option<Duration>,
}

/// The threads that are in a stage at this instant. Costs a system call a thread, for its state.
#[must_use]
pub fn active() -> Vec<Active> {
    let look = registry::blocks().into_iter().filter_map(|block| {
        let (thread, path, set, running_ns) = block.activity()?;
        let path = path.into_iter().map(|stage| stage_by_id(stage).1).collect();
        let labels = LabelKind::ALL.map(|kind| label_set(set).get(kind));
        let running = running_ns.map(Duration::from_nanos);
        Some(Active { thread, path, labels, state: state(thread), running })
    });
    look.collect()
}

#[cfg(target_os = "linux")]
fn state(thread: u32) -> ThreadState {
    // "tid (name) S …": the name may hold anything, so the state is looked for from the end of it.
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        Some('R') => ThreadState::Running,
        Some('S' | 'I') => ThreadState::Waiting,
        Some('D') => ThreadState::Disk,
        _ => ThreadState::Unknown,
    }
}

#[cfg(not(target_os = "linux"))]
fn state(_thread: u32) -> ThreadState {
    ThreadState::Unknown
}

/// How many threads were in one stage, for one query, in one state, on average.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAverage {
    /// The innermost stage; empty for async queries that are on no thread.
    pub stage: &'static str,
    /// The labels, in the order of [`LabelKind::ALL`].
    pub labels: [&'static str; LabelKind::ALL.len()],
    /// What the threads did.
    pub state: ThreadState,
    /// Threads, averaged over the looks.
    pub average: f64,
}

/// What was active over the last minutes, at some looks a second: a bounded ring.
///
/// A look reads each thread's path and its CPU clock, well below a microsecond a thread: the share of the time since the look
/// before that it was on a core counts as running, the rest as waiting.
#[derive(Debug)]
pub struct ActiveHistory {
    looks: VecDeque<Look>,
    keep: Duration,
    /// Rows of all looks.
    rows: usize,
    /// Looks that were dropped before their time because the ring was full.
    dropped: u64,
    /// The CPU time of each thread that was active at the last look.
    cpu_ns: HashMap<u32, u64>,
}

/// Rows of all looks together, 4.8 MB: five minutes of some sixty busy threads at 20 a second.
const MAX_ROWS: usize = 400_000;

#[derive(Debug)]
struct Look {
    at: Instant,
    rows: Vec<Row>,
}

/// What one thread was in; or, with stage 0, how many async queries with the labels were on none.
#[derive(Clone, Copy, Debug)]
struct Row {
    stage: u32,
    labels: u32,
    /// The share of the time that the thread was on a core; not a number if it was not seen before. Of async queries, how
    /// many.
    amount: f32,
}

impl ActiveHistory {
    /// A ring of the looks of that time.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self { looks: VecDeque::new(), keep, rows: 0, dropped: 0, cpu_ns: HashMap::new() }
    }

    /// Looks at all threads now, and at the async queries that are on none.
    pub fn look(&mut self) {
        let at = Instant::now();
        let elapsed = self.looks.back().map(|look| at.duration_since(look.at).as_nanos() as f32);
        let mut rows = Vec::new();
        let mut cpu_ns = HashMap::new();
        let mut on_threads: HashMap<u32, u64> = HashMap::new();
        for block in registry::blocks() {
            let Some((thread, stage, labels)) = block.innermost() else { continue };
            *on_threads.entry(labels).or_default() += 1;
            let mut running = f32::NAN;
            if let Some(now) = thread_cpu_ns(thread) {
                cpu_ns.insert(thread, now);
                if let (Some(before), Some(elapsed)) = (self.cpu_ns.get(&thread), elapsed) {
                    running = (now.saturating_sub(*before) as f32 / elapsed.max(1.0)).min(1.0);
                }
            }
            rows.push(Row { stage, labels, amount: running });
        }
        for (labels, live) in super::snapshot::live_async() {
            // Those that are polled at this moment have been seen on their threads.
            let awaiting = live.saturating_sub(on_threads.get(&labels).copied().unwrap_or(0));
            if awaiting > 0 {
                rows.push(Row { stage: 0, labels, amount: awaiting as f32 });
            }
        }
        self.cpu_ns = cpu_ns;
        self.rows += rows.len();
        self.looks.push_back(Look { at, rows });
        while let Some(oldest) = self.looks.front() {
            let expired = at.duration_since(oldest.at) > self.keep;
            if !expired && self.rows <= MAX_ROWS {
                break;
            }
            self.dropped += u64::from(!expired);
            self.rows -= oldest.rows.len();
            self.looks.pop_front();
        }
    }

    /// What was active on average within the last `past`, most first, and how many looks that rests on.
    #[must_use]
    pub fn averages(&self, past: Duration) -> (Vec<ActiveAverage>, usize) {
        let now = Instant::now();
        let looks: Vec<&Look> =
            self.looks.iter().rev().take_while(|look| now.duration_since(look.at) <= past).collect();
        let mut sums: HashMap<(u32, u32, ThreadState), f64> = HashMap::new();
        for row in looks.iter().flat_map(|look| &look.rows) {
            let mut add = |state, amount: f32| {
                *sums.entry((row.stage, row.labels, state)).or_default() += f64::from(amount);
            };
            if row.stage == 0 {
                add(ThreadState::Awaiting, row.amount);
            } else if row.amount.is_nan() {
                add(ThreadState::Unknown, 1.0);
            } else {
                add(ThreadState::Running, row.amount);
                add(ThreadState::Waiting, 1.0 - row.amount);
            }
        }
        let average = |((stage, labels, state), sum): (_, f64)| ActiveAverage {
            stage: stage_by_id(stage).1,
            labels: LabelKind::ALL.map(|kind| label_set(labels).get(kind)),
            state,
            average: sum / looks.len() as f64,
        };
        let mut averages: Vec<_> = sums.into_iter().filter(|(_, sum)| *sum > 0.0).map(average).collect();
        averages.sort_by(|a, b| b.average.total_cmp(&a.average).then_with(|| a.stage.cmp(b.stage)));
        (averages, looks.len())
    }

    /// Looks that were dropped before their time because there were too many active threads.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// When the oldest look was taken, about.
    #[must_use]
    pub fn since(&self) -> Option<SystemTime> {
        self.looks.front().and_then(|look| SystemTime::now().checked_sub(look.at.elapsed()))
    }
}

/// The CPU time of another thread of this process.
#[cfg(target_os = "linux")]
fn thread_cpu_ns(thread: u32) -> Option<u64> {
    // The kernel's number for the CPU clock of one thread: MAKE_THREAD_CPUCLOCK(tid, CPUCLOCK_SCHED).
    let clock = (!(thread as i32) << 3) | 6;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours; a thread that ended makes the call fail.
    (unsafe { libc::clock_gettime(clock, &raw mut time) } == 0)
        .then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(not(target_os = "linux"))]
fn thread_cpu_ns(_thread: u32) -> Option<u64> {
    None
}

/// The history that a collector keeps.
static HISTORY: Mutex<Option<ActiveHistory>> = Mutex::new(None);

/// What was active on average within the last `past`, most first, and how many looks that rests on: none if no
/// [collector](crate::collector) runs.
#[must_use]
pub fn active_averages(past: Duration) -> (Vec<ActiveAverage>, usize) {
    let history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    history.as_ref().map_or((Vec::new(), 0), |history| history.averages(past))
}

/// A collector begins to keep a history, or goes on keeping it.
pub(crate) fn look(keep: Duration) {
    let mut history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    history.get_or_insert_with(|| ActiveHistory::new(keep)).look();
}

/// The collector that kept the history has ended.
pub(crate) fn forget() {
    *HISTORY.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
