//! What ran at each instant of the last minutes: active query history, and what all other threads did.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::account::{Account, Group, Now, Part};
use super::own_threads;
use super::query_cpu::QueryCpu;
use super::thread_state::{self, ThreadState};
use crate::record::interner::NO_LABELS;
use crate::record::labels::{LabelKind, label_set};
use crate::record::registry;
use crate::record::stage::stage_by_id;

/// How many threads were in one stage, for one query, in one state, on average.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAverage {
    /// The innermost stage; empty for threads in no stage, and for async queries that are on no thread.
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
/// A look reads each thread's path and its CPU clock, well below a microsecond a thread, and of some threads that have
/// run since the look before what they do, some 5 µs each: they stand for the others. Of threads that are in no
/// stage a look takes no more than 32, which stand for all. So the states of all threads add up to their number, and
/// running is what the CPU clocks say, to within a look or two.
#[derive(Debug)]
pub struct ActiveHistory {
    looks: VecDeque<Look>,
    keep: Duration,
    /// Rows of all looks.
    rows: usize,
    /// Looks that were dropped before their time because the ring was full.
    dropped: u64,
    /// Looks so far.
    number: u64,
    account: Account,
    /// All threads, and when they were listed.
    threads: Vec<u32>,
    listed: Option<Instant>,
    turns: Turns,
    query_cpu: QueryCpu,
    /// When a collector's look last read.
    read: Option<Instant>,
}

/// Whose turn it is.
#[derive(Debug, Default)]
struct Turns {
    /// To be read, of the threads in stages, and of those in none.
    inside: usize,
    outside: usize,
    /// To be looked at, of those in none.
    listed: usize,
}

/// Rows of all looks together, 6.4 MB: five minutes of some sixty busy threads at 20 a second.
const MAX_ROWS: usize = 400_000;

/// Threads that a look reads the state of, in stages and in none.
const READS_INSIDE: usize = 2;
const READS_OUTSIDE: usize = 1;

/// Threads in no stage that a look takes.
const OUTSIDE: usize = 32;

/// Between two of a collector's looks that read states.
const READ_EVERY: Duration = Duration::from_millis(200);

/// Between two lists of all threads.
const LIST_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Look {
    at: Instant,
    rows: Vec<Row>,
}

/// What threads, or async queries, were in and did.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// 0 for none.
    stage: u32,
    labels: u32,
    state: ThreadState,
    /// How many.
    amount: f32,
}

impl ActiveHistory {
    /// A ring of the looks of that time.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self {
            looks: VecDeque::new(),
            keep,
            rows: 0,
            dropped: 0,
            number: 0,
            account: Account::default(),
            threads: Vec::new(),
            listed: None,
            turns: Turns::default(),
            query_cpu: QueryCpu::default(),
            read: None,
        }
    }

    /// Looks at all threads now, and at the async queries that are on none.
    pub fn look(&mut self) {
        self.look_and_read(true);
    }

    /// Without reading, the threads that have run since the look before count as what they were
    /// read as last.
    fn look_and_read(&mut self, reads: bool) {
        let at = Instant::now();
        let now = Now { at, look: self.number };
        self.number += 1;
        let innermost = registry::blocks().into_iter().filter_map(|block| block.innermost());
        let inside: Vec<_> = innermost.map(|(thread, stage, labels)| (thread, (stage, labels))).collect();
        let mut rows = Vec::new();
        let group = Group {
            threads: &inside,
            weight: 1.0,
            reads: if reads { READS_INSIDE } else { 0 },
            turn: &mut self.turns.inside,
        };
        self.account.take(now, group, |Part { place: (stage, labels), state, amount }| {
            rows.push(Row { stage, labels, state, amount });
        });
        self.look_outside(now, reads, &inside.iter().map(|(thread, _)| *thread).collect(), &mut rows);
        let mut on_threads: HashMap<u32, u64> = HashMap::new();
        for (_, (_, labels)) in inside {
            *on_threads.entry(labels).or_default() += 1;
        }
        for (labels, live) in super::snapshot::live_async() {
            // Those that are polled at this moment have been seen on their threads.
            let awaiting = live.saturating_sub(on_threads.get(&labels).copied().unwrap_or(0));
            if awaiting > 0 {
                rows.push(Row { stage: 0, labels, state: ThreadState::Awaiting, amount: awaiting as f32 });
            }
        }
        let within = |row: &&Row| row.state == ThreadState::Running && row.labels != NO_LABELS;
        self.query_cpu.add(at, rows.iter().filter(within).map(|row| f64::from(row.amount)).sum());
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

    /// Looks at the threads that are in no stage.
    fn look_outside(&mut self, now: Now, reads: bool, inside: &HashSet<u32>, rows: &mut Vec<Row>) {
        if self.listed.is_none_or(|listed| now.at.duration_since(listed) >= LIST_EVERY) {
            self.threads = thread_state::threads();
            self.listed = Some(now.at);
            self.account.keep(&self.threads.iter().copied().collect());
        }
        // Our own are nobody's activity.
        let own = own_threads::running();
        let outside = self.threads.iter().filter(|thread| !inside.contains(thread) && !own.contains(thread));
        let outside: Vec<_> = outside.map(|&thread| (thread, ())).collect();
        let taken = outside.len().min(OUTSIDE);
        let first = self.turns.listed;
        self.turns.listed = first.wrapping_add(taken);
        let threads: Vec<_> =
            (0..taken).map(|nth| outside[first.wrapping_add(nth) % outside.len()]).collect();
        let weight = outside.len() as f32 / taken as f32;
        let group = Group {
            threads: &threads,
            weight,
            reads: if reads { READS_OUTSIDE } else { 0 },
            turn: &mut self.turns.outside,
        };
        let mut sums: HashMap<ThreadState, f32> = HashMap::new();
        self.account.take(now, group, |Part { state, amount, .. }| *sums.entry(state).or_default() += amount);
        rows.extend(sums.into_iter().map(|(state, amount)| Row {
            stage: 0,
            labels: NO_LABELS,
            state,
            amount,
        }));
    }

    /// What was active on average within the last `past`, most first, and how many looks that rests on.
    #[must_use]
    pub fn averages(&self, past: Duration) -> (Vec<ActiveAverage>, usize) {
        let now = Instant::now();
        let looks: Vec<&Look> =
            self.looks.iter().rev().take_while(|look| now.duration_since(look.at) <= past).collect();
        let mut sums: HashMap<(u32, u32, ThreadState), f64> = HashMap::new();
        for row in looks.iter().flat_map(|look| &look.rows) {
            *sums.entry((row.stage, row.labels, row.state)).or_default() += f64::from(row.amount);
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

/// The history that a collector keeps.
static HISTORY: Mutex<Option<ActiveHistory>> = Mutex::new(None);

/// What was active on average within the last `past`, most first, and how many looks that rests on: none if no
/// [collector](crate::collector) runs.
#[must_use]
pub fn active_averages(past: Duration) -> (Vec<ActiveAverage>, usize) {
    let history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    history.as_ref().map_or((Vec::new(), 0), |history| history.averages(past))
}

/// A collector begins to keep a history, or goes on keeping it. It looks seldom enough to find all
/// that it reads gone from the caches, so that a read costs ten times what it does in a row, and
/// reads less often than it looks.
pub(crate) fn look(keep: Duration) {
    let mut history = HISTORY.lock().unwrap_or_else(PoisonError::into_inner);
    let history = history.get_or_insert_with(|| ActiveHistory::new(keep));
    let now = Instant::now();
    let reads = history.read.is_none_or(|read| now.duration_since(read) >= READ_EVERY);
    if reads {
        history.read = Some(now);
    }
    history.look_and_read(reads);
}

/// The collector that kept the history has ended.
pub(crate) fn forget() {
    *HISTORY.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
