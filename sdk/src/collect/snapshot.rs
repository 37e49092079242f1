//! The merged state of all threads at one instant.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::histogram::Histogram;
use crate::record::block::{Block, LabelFigures, StageFigures};
use crate::record::clock::Clock;
use crate::record::labels::{LabelKind, label_set};
use crate::record::{interner, registry, stage};

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
    /// What recording itself uses and refused.
    pub recorder: RecorderStats,
}

/// The figures of one stage.
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
    /// Finished calls.
    pub calls: u64,
    /// Calls that returned an `Err`.
    pub errors: u64,
    /// Time within the stage, its children's included, in nanoseconds.
    pub total_ns: u64,
    /// Time within the stage but in no stage below it, in nanoseconds.
    pub self_ns: u64,
    /// Bytes allocated within the stage, its children's included; 0 where the allocator keeps no count.
    pub alloc_bytes: u64,
    /// The distribution of the calls' total times.
    pub histogram: Histogram,
}

/// The figures of the queries that share one value of a label.
#[derive(Clone, Debug, Default)]
pub struct LabelStats {
    /// The label's value; empty for queries that did not say.
    pub value: String,
    /// Finished queries.
    pub calls: u64,
    /// Queries that returned an `Err`.
    pub errors: u64,
    /// Their time in nanoseconds, without that of queries nested in them: sums over all values are exact.
    pub total_ns: u64,
    /// The longest in nanoseconds, all in all.
    pub max_ns: u64,
    /// Bytes allocated within them, without those of queries nested in them.
    pub alloc_bytes: u64,
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
    /// Bytes of memory in blocks and interned labels.
    pub bytes: usize,
    /// What was refused, by cause; every cause is listed, most with 0.
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
    let [statements, tenants, users, databases] = labels(&blocks);
    Snapshot {
        taken_at: SystemTime::now(),
        stages: stages(&blocks),
        statements,
        tenants,
        users,
        databases,
        recorder: recorder(&blocks),
    }
}

impl Snapshot {
    /// The stage of that name, if it was entered; of the first component that has one.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageStats> {
        self.stages.iter().find(|stage| stage.name == name)
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

fn stages(blocks: &[&Block]) -> Vec<StageStats> {
    let mut merged: BTreeMap<(&str, &str), (&stage::Stage, StageFigures)> = BTreeMap::new();
    for (index, stage) in stage::registered().into_iter().enumerate() {
        let (_, sum) =
            merged.entry((stage.component, stage.name)).or_insert_with(|| (stage, StageFigures::default()));
        for block in blocks {
            block.read_stage(index as u32 + 1, sum);
        }
    }
    merged.into_values().map(|(stage, sum)| stats(stage, sum)).filter(|s| s.calls > 0).collect()
}

fn stats(stage: &stage::Stage, sum: StageFigures) -> StageStats {
    let histogram = Histogram::new(sum.cells, sum.max_ns);
    StageStats {
        name: stage.name,
        component: stage.component,
        file: stage.file,
        line: stage.line,
        calls: histogram.count() + sum.unplaced,
        errors: sum.errors,
        total_ns: sum.total_ns,
        self_ns: sum.self_ns,
        alloc_bytes: sum.allocated,
        histogram,
    }
}

fn labels(blocks: &[&Block]) -> [Vec<LabelStats>; LabelKind::ALL.len()] {
    let mut sums = vec![LabelFigures::default(); interner::count()];
    for block in blocks {
        block.read_labels(&mut sums);
    }
    LabelKind::ALL.map(|kind| {
        let mut merged: BTreeMap<&str, LabelStats> = BTreeMap::new();
        for (number, sum) in sums.iter().enumerate().filter(|(_, sum)| sum.calls > 0) {
            let value = label_set(number as u32).get(kind);
            let stats = merged.entry(value).or_default();
            stats.value = value.to_owned();
            stats.calls += sum.calls;
            stats.errors += sum.errors;
            stats.total_ns += sum.total_ns;
            stats.max_ns = stats.max_ns.max(sum.max_ns);
            stats.alloc_bytes += sum.allocated;
        }
        merged.into_values().collect()
    })
}

fn recorder(blocks: &[&Block]) -> RecorderStats {
    let stages = stage::registered().len();
    let sum = |read: fn(&Block) -> u64| blocks.iter().map(|block| read(block)).sum();
    let (no_block, at_exit) = registry::refused();
    RecorderStats {
        clock: Clock::get().name(),
        threads: blocks.iter().filter(|block| block.is_owned()).count(),
        blocks: blocks.len(),
        bytes: blocks.iter().map(|block| block.used_bytes(stages)).sum::<usize>() + interner::bytes(),
        refused: vec![
            ("label_cap", sum(|block| block.refused.label_cap.get())),
            ("label_length", sum(|block| block.refused.label_length.get())),
            ("arena_full", sum(|block| block.refused.arena_full.get())),
            ("thread_cap", no_block),
            ("thread_exit", at_exit),
        ],
    }
}
