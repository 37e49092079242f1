//! The guards that the macros put around a stage's or a query's body.

use std::marker::PhantomData;

use super::block::{Block, Query, Timing};
use super::interner::NO_LABELS;
use super::labels::Labels;
use super::stage::{Call, Stage};
use super::{rates, registry, spans, thread};

/// What is remembered between entering a stage and leaving it.
pub(crate) struct Entered {
    block: &'static Block,
    stage: u32,
    /// The path's depth before.
    depth: u32,
    /// What the call stands for; 0 if it is not timed.
    weight: u32,
    /// The children's time that the enclosing stage had gathered.
    outer_child_ns: u64,
    allocated: u64,
    start: u64,
    /// Whether the thread was unwinding already, so that this call is part of the cleaning up.
    unwinding: bool,
}

impl Entered {
    /// Enters a stage. The outermost one of a thread that is in no query decides whether it is timed.
    #[inline(always)]
    pub(crate) fn new(block: &'static Block, call: Call) -> Self {
        if block.depth() == 0 && block.labels() == NO_LABELS {
            block.set_weight(rates::decide(block, NO_LABELS));
        }
        Self::within(block, call)
    }

    /// Enters a stage of what was decided before.
    #[inline(always)]
    fn within(block: &'static Block, call: Call) -> Self {
        let depth = block.push(call.stage);
        let weight = if call.timed { block.weight() } else { 0 };
        let unwinding = std::thread::panicking();
        let (mut outer_child_ns, mut allocated, mut start) = (0, 0, 0);
        if weight != 0 {
            block.entered.add(1);
            outer_child_ns = block.child_ns.get();
            block.child_ns.set(0);
            allocated = block.allocated();
            // Last, so that the stage's own time has as little of ours in it as can be.
            start = block.ticks();
        }
        Self { block, stage: call.stage, depth, weight, outer_child_ns, allocated, start, unwinding }
    }

    /// Leaves it; what was timed, if it was.
    #[inline(always)]
    pub(crate) fn leave(&self, failed: bool) -> Option<Timing> {
        let block = self.block;
        let timing = if self.weight != 0 {
            let ns = block.to_ns(block.ticks().saturating_sub(self.start));
            let allocated = block.allocated().wrapping_sub(self.allocated);
            let own_ns = ns.saturating_sub(block.child_ns.get());
            block.child_ns.set(self.outer_child_ns.wrapping_add(ns));
            let timing = Timing { ns, own_ns, weight: self.weight };
            block.record_stage(self.stage, failed, allocated, timing);
            spans::leave(block, self.depth, self.stage, failed, self.start, timing, allocated);
            Some(timing)
        } else {
            block.count_stage(self.stage, failed);
            None
        };
        block.set_depth(self.depth);
        if std::thread::panicking() && !self.unwinding {
            block.record_panic(self.stage);
        }
        timing
    }
}

/// Counts and times the stage that it was made for until it is dropped.
#[must_use = "the stage ends when this is dropped"]
pub struct StageGuard {
    entered: Option<Entered>,
    failed: bool,
    /// A guard belongs to the thread that entered the stage.
    _not_send: PhantomData<*const ()>,
}

/// Enters a stage. Costs a clock read and a few stores in the thread's own memory.
///
/// What a stage does that is on stands in functions of its own, so that one that is off leaves no more in its caller than a
/// load and two branches.
#[inline(always)]
pub fn enter(stage: &'static Stage) -> StageGuard {
    StageGuard { entered: stage.call().and_then(enter_on), failed: false, _not_send: PhantomData }
}

#[inline(always)]
fn enter_on(call: Call) -> Option<Entered> {
    Some(Entered::new(thread::block()?, call))
}

#[inline(never)]
fn leave_on(entered: &Entered, failed: bool) {
    if thread::holds(entered.block) {
        entered.leave(failed);
    } else {
        registry::refuse_at_exit();
    }
}

impl StageGuard {
    /// The call counts as an error.
    #[inline]
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for StageGuard {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(entered) = &self.entered {
            leave_on(entered, self.failed);
        }
    }
}

/// What is remembered between entering a query and leaving it, beside what its stage remembers.
pub(crate) struct EnteredQuery {
    stage: Entered,
    set: u32,
    outer_labels: u32,
    outer_weight: u32,
    outer_start: u64,
    /// What the queries nested in the enclosing query had gathered.
    outer: Nested,
    allocated: u64,
    entered: u64,
    rows: u64,
}

/// Sums over the queries nested in one: its own figures leave them out.
#[derive(Clone, Copy, Default)]
struct Nested {
    ns: u64,
    allocated: u64,
    entered: u64,
}

impl Nested {
    #[inline(always)]
    fn take(block: &Block) -> Self {
        let Self { ns, allocated, entered } = Self::default();
        let outer = Self {
            ns: block.nested_ns.get(),
            allocated: block.nested_allocated.get(),
            entered: block.nested_entered.get(),
        };
        block.nested_ns.set(ns);
        block.nested_allocated.set(allocated);
        block.nested_entered.set(entered);
        outer
    }

    #[inline(always)]
    fn put_back(self, block: &Block, and: Self) {
        block.nested_ns.set(self.ns.wrapping_add(and.ns));
        block.nested_allocated.set(self.allocated.wrapping_add(and.allocated));
        block.nested_entered.set(self.entered.wrapping_add(and.entered));
    }
}

impl EnteredQuery {
    #[inline(always)]
    pub(crate) fn new(block: &'static Block, call: Call, set: u32) -> Self {
        let (outer_labels, outer_weight) = (block.labels(), block.weight());
        let mut outer = Nested::default();
        if outer_labels == NO_LABELS {
            // Once a query, at its root: what is nested in it inherits.
            let weight = rates::decide(block, set);
            block.set_weight(weight);
            if weight != 0 && call.timed {
                block.spans.begin_query(|| block.next_random());
            }
        } else {
            outer = Nested::take(block);
        }
        block.set_labels(set);
        let (allocated, entered, rows) = (block.allocated(), block.entered.get(), block.rows.get());
        let outer_start = block.query_start.get();
        let stage = Entered::within(block, call);
        block.query_start.set(stage.start);
        Self { stage, set, outer_labels, outer_weight, outer_start, outer, allocated, entered, rows }
    }

    #[inline(always)]
    pub(crate) fn leave(&self, failed: bool) {
        let block = self.stage.block;
        let timing = self.stage.leave(failed);
        let allocated = block.allocated().wrapping_sub(self.allocated);
        let stages = block.entered.get().wrapping_sub(self.entered);
        let ns = timing.map_or(0, |timing| timing.ns);
        let timing = timing.map(|t| Timing { own_ns: t.ns.saturating_sub(block.nested_ns.get()), ..t });
        let query = Query {
            failed,
            allocated: allocated.saturating_sub(block.nested_allocated.get()),
            stages: stages.saturating_sub(block.nested_entered.get()),
            rows: block.rows.get().wrapping_sub(self.rows),
            timing,
        };
        block.record_query(self.set, query);
        block.rows.set(self.rows);
        block.query_start.set(self.outer_start);
        block.set_labels(self.outer_labels);
        block.set_weight(self.outer_weight);
        if self.outer_labels == NO_LABELS {
            Nested::default().put_back(block, Nested::default());
            if block.spans.seed() != 0 {
                block.spans.end_query(self.set, failed, ns);
            }
        } else {
            self.outer.put_back(block, Nested { ns, allocated, entered: stages });
        }
    }
}

/// Counts and times the query that it was made for, and labels its thread, until it is dropped.
#[must_use = "the query ends when this is dropped"]
pub struct QueryGuard {
    entered: Option<EnteredQuery>,
    failed: bool,
    _not_send: PhantomData<*const ()>,
}

/// Enters a query: a stage that is also the root of a statement's execution, with labels. `labels` is only called if the
/// query is recorded.
#[inline]
pub fn enter_query(stage: &'static Stage, labels: impl FnOnce() -> Labels) -> QueryGuard {
    let entered = stage.call().and_then(|call| {
        let block = thread::block()?;
        Some(EnteredQuery::new(block, call, labels().number()))
    });
    QueryGuard { entered, failed: false, _not_send: PhantomData }
}

impl QueryGuard {
    /// The call counts as an error.
    #[inline]
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for QueryGuard {
    #[inline]
    fn drop(&mut self) {
        let Some(entered) = &self.entered else { return };
        if thread::holds(entered.stage.block) {
            entered.leave(self.failed);
        } else {
            registry::refuse_at_exit();
        }
    }
}

/// Reports rows that the query which the calling thread is in has produced. Outside of a query it does nothing.
/// Costs a load and a store.
#[inline]
pub fn rows(n: u64) {
    if let Some(block) = thread::present()
        && block.labels() != NO_LABELS
    {
        block.rows.add(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::block::{LabelFigures, StageFigures};
    use crate::record::clock::Clock;

    /// A clock that goes back by a minute while a stage runs.
    const BACK: u64 = 60_000_000_000;

    #[test]
    fn a_clock_that_goes_backwards_makes_a_duration_of_nothing() {
        let block = Block::map().unwrap();
        block.adopt(7, None, Clock { tsc: false, ns_per_tick: 1 << 32 });
        let (root, stage) = (Call { stage: 100, timed: true }, Call { stage: 101, timed: true });
        let mut query = EnteredQuery::new(block, root, 2);
        let mut inner = Entered::new(block, stage);
        inner.start += BACK;
        // What looks from outside meanwhile sees a query that has just begun.
        block.query_start.set(query.stage.start + BACK);
        assert_eq!(block.activity().map(|(.., since)| since), Some(Some(0)));
        inner.leave(false);
        query.stage.start += BACK;
        query.leave(false);
        for stage in [100, 101] {
            let mut sum = StageFigures::default();
            block.read_stage(stage, &mut sum);
            assert_eq!((sum.timed, sum.total_ns, sum.self_ns, sum.max_ns), (1, 0, 0, 0));
            assert_eq!((sum.cells[0], sum.cells.iter().sum::<u64>()), (1, 1));
        }
        let mut labels = vec![LabelFigures::default(); 3];
        block.read_labels(&mut labels);
        assert_eq!((labels[2].calls, labels[2].total_ns, labels[2].max_ns), (1, 0, 0));
        assert_eq!((block.depth(), block.labels()), (0, 0));
    }

    #[test]
    fn a_parent_that_seems_shorter_than_its_child_has_no_time_of_its_own() {
        let block = Block::map().unwrap();
        block.adopt(7, None, Clock { tsc: false, ns_per_tick: 1 << 32 });
        let parent = Entered::new(block, Call { stage: 100, timed: true });
        let mut child = Entered::new(block, Call { stage: 101, timed: true });
        child.start = 0;
        block.child_ns.set(0);
        child.leave(false);
        block.child_ns.add(BACK);
        parent.leave(false);
        let mut sum = StageFigures::default();
        block.read_stage(100, &mut sum);
        assert_eq!((sum.timed, sum.self_ns), (1, 0));
    }
}
