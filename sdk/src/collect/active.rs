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
    /// The innermost stage.
    pub stage: &'static str,
    /// The labels, in the order of [`LabelKind::ALL`].
    pub labels: [&'static str; LabelKind::ALL.len()],
    /// What the threads did.
    pub state: ThreadState,
    /// Threads, averaged over the looks.
    pub average: f64,
}

/// What was active over the last minutes, at some looks a second: a bounded ring.
#[derive(Debug)]
pub struct ActiveHistory {
    looks: VecDeque<Look>,
    keep: Duration,
    /// Rows of all looks.
    rows: usize,
    /// Looks that were dropped before their time because the ring was full.
    dropped: u64,
}

/// Rows of all looks together, some 6 MB: five minutes of sixteen busy threads at 20 a second.
const MAX_ROWS: usize = 100_000;

#[derive(Debug)]
struct Look {
    at: Instant,
    /// Innermost stage, labels and state of each active thread.
    rows: Vec<Row>,
}

type Labels = [&'static str; LabelKind::ALL.len()];
type Row = (&'static str, Labels, ThreadState);

/// Async queries under way, by label set.
fn live_async() -> impl Iterator<Item = (Labels, u64)> {
    let sets = super::snapshot::label_sets().into_iter().enumerate();
    sets.filter(|(_, figures)| figures.live > 0 && figures.live < u64::MAX / 2)
        .map(|(set, figures)| (LabelKind::ALL.map(|kind| label_set(set as u32).get(kind)), figures.live))
}

impl ActiveHistory {
    /// A ring of the looks of that time.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self { looks: VecDeque::new(), keep, rows: 0, dropped: 0 }
    }

    /// Looks at all threads now, and at the async queries that are on none.
    pub fn look(&mut self) {
        let mut on_threads: HashMap<Labels, u64> = HashMap::new();
        let row = |active: Active| {
            *on_threads.entry(active.labels).or_default() += 1;
            (active.path.last().copied().unwrap_or(""), active.labels, active.state)
        };
        let mut rows: Vec<Row> = active().into_iter().map(row).collect();
        for (labels, live) in live_async() {
            // Those that are polled at this moment have been seen on their threads.
            let awaiting = live.saturating_sub(on_threads.get(&labels).copied().unwrap_or(0));
            let row = ("", labels, ThreadState::Awaiting);
            rows.extend(std::iter::repeat_n(row, awaiting.min(MAX_ROWS as u64) as usize));
        }
        let at = Instant::now();
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
        let mut counts: HashMap<Row, u64> = HashMap::new();
        for row in looks.iter().flat_map(|look| &look.rows) {
            *counts.entry(*row).or_default() += 1;
        }
        let average = |((stage, labels, state), count): (Row, u64)| ActiveAverage {
            stage,
            labels,
            state,
            average: count as f64 / looks.len() as f64,
        };
        let mut averages: Vec<_> = counts.into_iter().map(average).collect();
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
