//! The merged state of all threads at one instant.

use std::collections::HashMap;
use std::time::SystemTime;

use super::histogram::Histogram;
use super::label_fallback::{self, LabelFallback};
use super::trace_losses;
use crate::metric::{self, MetricFamily};
use crate::record::block::{Block, LabelCounts, StageFigures};
use crate::record::clock::Clock;
use crate::record::counts::Counts;
use crate::record::labels::LabelKind;
use crate::record::octaves::{COARSE, FINE};
use crate::record::stage::Mode;
use crate::record::turnover::Reading;
use crate::record::{interner, registry, stage, turnover};

/// What was recorded since the process started: merged over threads, those that ended included, and
/// immutable. Figures only grow from one snapshot to the next.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was taken.
    pub taken_at: SystemTime,
    /// All stages that were entered at least once, by component and name.
    pub stages: Vec<StageStats>,
    /// Queries by statement key.
    pub statements: Vec<LabelStats>,
    /// Queries by tenant.
    pub tenants: Vec<LabelStats>,
    /// Queries by user.
    pub users: Vec<LabelStats>,
    /// Queries by database.
    pub databases: Vec<LabelStats>,
    /// Kinds of label whose values or combinations are too many to be told apart; as a rule there
    /// are none.
    pub label_fallbacks: Vec<LabelFallback>,
    /// The user's own metrics, by name.
    pub metrics: Vec<MetricFamily>,
    /// What recording itself uses and refused.
    pub recorder: RecorderStats,
}

/// The figures of one stage. Counts and errors are exact. Times and bytes rest on the calls that were timed, each of which
/// stands for those that were not: estimates without bias, exact where all were timed.
#[derive(Clone, Debug)]
pub struct StageStats {
    /// The stage's name.
    pub name: &'static str,
    /// The part of the system that it belongs to; the module unless the attribute says.
    pub component: &'static str,
    /// The source file of one of its call sites.
    pub file: &'static str,
    /// The line of that call site.
    pub line: u32,
    /// What is recorded of it at present.
    pub mode: Mode,
    /// Finished calls.
    pub calls: u64,
    /// Those that were timed.
    pub timed: u64,
    /// Calls that returned an `Err`.
    pub errors: u64,
    /// Calls that a panic ended.
    pub panics: u64,
    /// Time within the stage, its children's included, in nanoseconds. Of an async stage: from its first poll to its end; of
    /// one that gives an iterator: while that was made and items were pulled out of it, or awaited. A call within another
    /// call of the stage is part of that one and does not count again.
    pub total_ns: u64,
    /// What such inner calls of a recursive stage took, in nanoseconds:
    /// [`total_ns`](Self::total_ns) leaves it out, the histogram has it.
    pub recursive_ns: u64,
    /// Time within the stage but in no stage below it, in nanoseconds. Of an async stage: while it was polled.
    pub self_ns: u64,
    /// Of an async stage, time between polls, in nanoseconds; without that of inner calls.
    pub awaiting_ns: u64,
    /// Of an async stage, times that it was polled; of one that gives an iterator, times that it was asked for an item.
    pub polls: u64,
    /// Of an async stage, calls that were dropped before they were done.
    pub cancelled: u64,
    /// Bytes allocated within the stage, its children's included, inner calls counted once; rests
    /// on the timed calls, and is 0 where the allocator keeps no count.
    pub alloc_bytes: u64,
    /// The distribution of the calls' times, those of inner calls included.
    pub histogram: Histogram,
}

/// The figures of the queries that share one value of a label.
#[derive(Clone, Debug, Default)]
pub struct LabelStats {
    /// The label's value; empty for queries that did not say.
    pub value: String,
    /// Finished queries.
    pub calls: u64,
    /// Those that were timed, on which the times rest.
    pub timed: u64,
    /// Queries that returned an `Err`.
    pub errors: u64,
    /// Their time in nanoseconds, without that of queries nested in them: sums over all values are exact.
    pub self_ns: u64,
    /// Their time in nanoseconds, that of queries nested in them included: mean, quantiles and the
    /// longest are of this. Where queries of one value nest in one another, it has the inner ones'
    /// time twice.
    pub total_ns: u64,
    /// The longest in nanoseconds, all in all.
    pub max_ns: u64,
    /// Bytes allocated within them, without those of queries nested in them.
    pub alloc_bytes: u64,
    /// Stages entered within them, without those of queries nested in them; rests on the timed ones.
    pub stages: u64,
    /// Rows that they reported by [`rows`](crate::rows).
    pub rows: u64,
    /// The distribution of their times, all in all.
    pub histogram: Histogram,
    /// How often the value has lost its entry to a heavier one; then its figures moved to `other`.
    pub(crate) losses: u32,
}

/// What recording uses and what it had to refuse.
#[derive(Clone, Debug)]
pub struct RecorderStats {
    /// The clock in use: `tsc` or `system`.
    pub clock: &'static str,
    /// Threads that hold a block at this instant.
    pub threads: usize,
    /// Blocks that exist, free ones included.
    pub blocks: usize,
    /// Bytes of memory in blocks, interned labels and metrics.
    pub bytes: usize,
    /// What was refused, by cause; every cause is listed, most with 0.
    ///
    /// Of traces: `traces_full` are slow or failed ones that were lost, and `spans_full` attributes
    /// and events that their traces lack; a healthy program has neither. `traces_thinned` are
    /// queries that were to be kept and were not, for there were many like them; `spans_short` are
    /// the short spans that traces of very many leave out, as each says of itself.
    pub refused: Vec<(&'static str, u64)>,
}

/// Reads every thread's block and merges them. Makes no thread wait, and costs some microseconds a
/// thread and stage.
///
/// Counts are exact for the calls that finished before it; a call that finishes meanwhile may be in one of
/// its figures and not yet in another.
#[must_use]
pub fn snapshot() -> Snapshot {
    let blocks = registry::blocks();
    let mut reading = turnover::read(&blocks);
    let label_fallbacks = label_fallback::of(&reading);
    let tenants = labels(&mut reading, LabelKind::Tenant, false);
    let users = labels(&mut reading, LabelKind::User, false);
    let databases = labels(&mut reading, LabelKind::Database, false);
    let statements = labels(&mut reading, LabelKind::Statement, true);
    Snapshot {
        taken_at: SystemTime::now(),
        stages: stages(&blocks),
        statements,
        tenants,
        users,
        databases,
        label_fallbacks,
        metrics: metric::collect(),
        recorder: recorder(&blocks),
    }
}

impl Snapshot {
    /// The stage of that name, if it was entered; of the first component that has one.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageStats> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The `n` values of a kind of label whose queries have most of something, most first:
    /// `snapshot.top(LabelKind::Tenant, 10, |tenant| tenant.total_ns)`. All in all; [`Queries::top`](crate::Queries::top) has
    /// those since the last reset.
    #[must_use]
    pub fn top<K: Ord>(&self, kind: LabelKind, n: usize, by: impl Fn(&LabelStats) -> K) -> Vec<&LabelStats> {
        let mut all: Vec<&LabelStats> = self.by_label(kind).iter().collect();
        all.sort_by_key(|stats| std::cmp::Reverse(by(stats)));
        all.truncate(n);
        all
    }

    /// Queries by a kind of label.
    #[must_use]
    pub fn by_label(&self, kind: LabelKind) -> &[LabelStats] {
        match kind {
            LabelKind::Statement => &self.statements,
            LabelKind::Tenant => &self.tenants,
            LabelKind::User => &self.users,
            LabelKind::Database => &self.databases,
        }
    }
}

impl LabelStats {
    /// Time of a query on average, in nanoseconds, queries nested in it included.
    #[must_use]
    pub fn mean_ns(&self) -> u64 {
        self.total_ns / self.calls.max(1)
    }
}

/// The queries by statement alone. Labels change hands as they do at any look.
pub(crate) fn statements() -> Vec<LabelStats> {
    labels(&mut turnover::read(&registry::blocks()), LabelKind::Statement, true)
}

impl LabelStats {
    /// Adds another part of the same value's.
    fn add(&mut self, more: &LabelStats) {
        self.calls += more.calls;
        self.timed += more.timed;
        self.errors += more.errors;
        self.self_ns += more.self_ns;
        self.total_ns += more.total_ns;
        self.max_ns = self.max_ns.max(more.max_ns);
        self.alloc_bytes += more.alloc_bytes;
        self.stages += more.stages;
        self.rows += more.rows;
        self.histogram.merge(&more.histogram);
    }
}

fn stages(blocks: &[&Block]) -> Vec<StageStats> {
    let all = stage::registered();
    let mut sums = vec![StageFigures::default(); all.len()];
    for block in blocks {
        block.read_stages(&mut sums);
    }
    let all = all.into_iter().zip(sums).map(|(stage, sum)| stats(stage, sum));
    let mut stages: Vec<StageStats> = all.filter(|stage| stage.calls > 0).collect();
    stages.sort_by_key(|stage| (stage.component, stage.name));
    stages
}

fn stats(stage: &stage::Stage, sum: StageFigures) -> StageStats {
    let calls = sum.timed + sum.untimed;
    let histogram = Histogram::new(FINE, sum.cells, calls, sum.timed, sum.max_ns);
    StageStats {
        name: stage.name,
        component: stage.component,
        file: stage.file,
        line: stage.line,
        mode: stage.mode(),
        calls,
        timed: sum.timed,
        errors: sum.errors,
        panics: sum.panics,
        total_ns: sum.total_ns,
        recursive_ns: sum.inner_ns,
        self_ns: sum.self_ns,
        awaiting_ns: sum.awaiting_ns,
        polls: sum.polls,
        cancelled: sum.cancelled,
        alloc_bytes: sum.allocated,
        histogram,
    }
}

/// The counts of each label set, which cost less than its figures.
pub(crate) fn label_counts() -> Vec<LabelCounts> {
    let mut sums = vec![LabelCounts::default(); interner::count()];
    for block in registry::blocks() {
        block.count_labels(&mut sums);
    }
    sums
}

/// Async queries under way, by label set: none where one thread's count was read before the other's.
pub(crate) fn live_async() -> Vec<(u32, u64)> {
    let blocks = registry::blocks();
    // As a rule there are none, or few beside the sets that they may have.
    if blocks.iter().fold(0_u64, |all, block| all.wrapping_add(block.all_live())) == 0 {
        return Vec::new();
    }
    let mut sums = vec![0_u64; interner::count()];
    for block in blocks {
        block.read_live(&mut sums);
    }
    let sums = sums.into_iter().enumerate();
    sums.filter(|(_, live)| (1..u64::MAX / 2).contains(live)).map(|(set, live)| (set as u32, live)).collect()
}

/// Finished calls of all stages.
pub(crate) fn stage_calls() -> u64 {
    let stages = stage::registered().len() as u32;
    registry::blocks().iter().map(|block| block.stage_calls(stages)).sum()
}

/// Takes the histograms of the last kind that is asked for.
fn labels(reading: &mut Reading, kind: LabelKind, is_last: bool) -> Vec<LabelStats> {
    let mut merged: Vec<LabelStats> = Vec::new();
    // Values live for ever, and as a rule one text in one place: to compare addresses is enough
    // here.
    let mut places: HashMap<(*const u8, usize), usize> = HashMap::new();
    for (set, sum) in reading.sets.iter_mut().filter(|(_, sum)| sum.calls > 0) {
        let value = set.get(kind);
        let place = *places.entry((value.as_ptr(), value.len())).or_insert_with(|| {
            merged.push(LabelStats {
                value: value.to_owned(),
                losses: reading.losses[kind as usize].get(value).copied().unwrap_or(0),
                histogram: Histogram::new(COARSE, Counts::default(), 0, 0, 0),
                ..Default::default()
            });
            merged.len() - 1
        });
        let stats = &mut merged[place];
        stats.calls += sum.calls;
        stats.timed += sum.timed;
        stats.errors += sum.errors;
        stats.self_ns += sum.self_ns;
        stats.total_ns += sum.self_ns + sum.nested_ns;
        stats.max_ns = stats.max_ns.max(sum.max_ns);
        stats.alloc_bytes += sum.allocated;
        stats.stages += sum.stages;
        stats.rows += sum.rows;
        let cells = if is_last { std::mem::take(&mut sum.cells) } else { sum.cells.clone() };
        stats.histogram.add(cells, sum.calls, sum.timed, sum.max_ns);
    }
    merged.sort_by(|one, other| one.value.cmp(&other.value));
    merged.dedup_by(|again, first| {
        let same = again.value == first.value;
        if same {
            first.add(again);
        }
        same
    });
    merged
}

fn recorder(blocks: &[&Block]) -> RecorderStats {
    let stages = stage::registered().len();
    let sum = |read: fn(&Block) -> u64| blocks.iter().map(|block| read(block)).sum();
    let (no_block, at_exit) = registry::refused();
    let mut refused = vec![
        ("label_cap", sum(|block| block.refused.label_cap.get())),
        ("label_lost", turnover::lost()),
        ("label_length", sum(|block| block.refused.label_length.get())),
        ("arena_full", sum(Block::refused_for_room)),
        ("thread_cap", no_block),
        ("thread_exit", at_exit),
    ];
    refused.extend(trace_losses::refused(blocks));
    refused.extend(metric::registry::refused());
    RecorderStats {
        clock: Clock::get().name(),
        threads: blocks.iter().filter(|block| block.is_owned()).count(),
        blocks: blocks.len(),
        bytes: blocks.iter().map(|block| block.used_bytes(stages)).sum::<usize>()
            + interner::bytes()
            + metric::registry::bytes(),
        refused,
    }
}
