//! The guard of a query.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::stage::{Entered, Frame, Took};
use crate::record::block::{Block, Query, Timing};
use crate::record::interner::NO_LABELS;
use crate::record::labels::Labels;
use crate::record::stage::{Call, Stage};
use crate::record::{rates, registry, thread};

/// Room for what a query remembers, in the stack frame of the function that is one.
#[derive(Debug)]
pub struct QueryFrame {
    pub(super) stage: Frame,
    query: MaybeUninit<Begun>,
    outer: MaybeUninit<Outer>,
}

impl QueryFrame {
    /// Writes nothing.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self { stage: Frame::new(), query: MaybeUninit::uninit(), outer: MaybeUninit::uninit() }
    }
}

impl Default for QueryFrame {
    fn default() -> Self {
        Self::new()
    }
}

/// What a query remembers beside its stage.
#[derive(Clone, Copy, Debug)]
struct Begun {
    set: u32,
    outer_weight: u32,
    allocated: u64,
}

/// What a query remembers that is timed or nested in another, and what it puts back when it ends.
#[derive(Clone, Copy, Debug)]
struct Outer {
    entered: u64,
    labels: u32,
    start: u64,
    rows: u64,
    /// What the queries nested in the enclosing query had gathered.
    nested: Nested,
}

/// Sums over the queries nested in one: its own figures leave them out.
#[derive(Clone, Copy, Debug, Default)]
struct Nested {
    ns: u64,
    allocated: u64,
    entered: u64,
}

impl Nested {
    #[inline(always)]
    fn get(block: &Block) -> Self {
        Self {
            ns: block.nested_ns.get(),
            allocated: block.nested_allocated.get(),
            entered: block.nested_entered.get(),
        }
    }

    #[inline(always)]
    fn set(self, block: &Block) {
        block.nested_ns.set(self.ns);
        block.nested_allocated.set(self.allocated);
        block.nested_entered.set(self.entered);
    }
}

/// A query that is under way; what it remembers stands in a frame.
#[derive(Clone, Copy)]
pub(crate) struct EnteredQuery(Entered);

/// The frame's `outer` is written.
const WHOLE: u64 = 1 << 34;

impl EnteredQuery {
    #[inline(never)]
    pub(crate) fn new(block: &Block, call: Call, set: u32, frame: &mut QueryFrame) -> Self {
        let (labels, outer_weight) = (block.labels(), block.weight());
        let mut whole = 0;
        if labels == NO_LABELS {
            // Once a query, at its root: what is nested in it inherits.
            let weight = rates::decide(block, set);
            block.set_weight(weight);
            if weight != 0 {
                whole = begin_timed_root(block, call.spans, frame);
            }
        } else {
            whole = begin_nested(block, labels, frame);
        }
        block.set_labels(set);
        frame.query.write(Begun { set, outer_weight, allocated: block.allocated() });
        let mut stage = Entered::within(block, block.depth(), call, &mut frame.stage);
        if let Some(timed) = stage.timed(&frame.stage) {
            block.query_start.set(timed.start);
        }
        stage.0 |= whole;
        Self(stage)
    }

    /// `frame` is the one that it was entered with.
    #[inline(always)]
    pub(crate) fn leave(self, block: &Block, stage: u32, frame: &QueryFrame, failed: bool) {
        if self.0.0 & WHOLE != 0 {
            return self.leave_whole(block, stage, frame, failed);
        }
        self.0.leave(block, stage, &frame.stage, failed);
        // Each part is read where it is used. Read at once and early, as a whole, they would wait for the
        // stores of their parts: 6 ns for a query that takes ten.
        // SAFETY: `new` has written it.
        let begun = unsafe { frame.query.assume_init_ref() };
        // An outermost query that is not timed: this is what most queries are under a governor.
        let allocated = block.allocated().wrapping_sub(begun.allocated);
        let rows = block.rows.get();
        block.record_query(
            begun.set,
            Query {
                failed,
                allocated: allocated.saturating_sub(block.nested_allocated.get()),
                stages: 0,
                rows,
                timing: None,
            },
        );
        if rows != 0 {
            block.rows.set(0);
        }
        Nested::default().set(block);
        block.set_labels(NO_LABELS);
        block.set_weight(begun.outer_weight);
    }
}

impl EnteredQuery {
    /// Leaves a query that is timed or nested.
    #[inline(never)]
    fn leave_whole(self, block: &Block, stage: u32, frame: &QueryFrame, failed: bool) {
        // SAFETY: `new` has written the first, and the second with the flag by which this is called.
        let (begun, outer) = unsafe { (frame.query.assume_init(), frame.outer.assume_init()) };
        block.spans.begin_own(begun.set, outer.labels == NO_LABELS);
        let took = self.0.leave(block, stage, &frame.stage, failed);
        end_whole(block, begun, outer, took, failed);
    }
}

/// The outermost query, which is timed. It finds nothing to put back: a thread in no query has no rows and no query's start.
#[inline(never)]
fn begin_timed_root(block: &Block, spans: bool, frame: &mut QueryFrame) -> u64 {
    if spans {
        block.spans.begin_query(|| block.next_random());
    }
    let nested = Nested::default();
    frame.outer.write(Outer { entered: block.entered.get(), labels: NO_LABELS, start: 0, rows: 0, nested });
    WHOLE
}

#[inline(never)]
fn begin_nested(block: &Block, labels: u32, frame: &mut QueryFrame) -> u64 {
    frame.outer.write(Outer {
        entered: block.entered.get(),
        labels,
        start: block.query_start.get(),
        rows: block.rows.get(),
        nested: Nested::get(block),
    });
    Nested::default().set(block);
    // When the enclosing query began does not hold for this one, which may not be timed.
    block.query_start.set(0);
    WHOLE
}

/// Ends a query that is timed or nested.
#[inline(always)]
fn end_whole(block: &Block, begun: Begun, outer: Outer, took: Option<Took>, failed: bool) {
    let nested = Nested::get(block);
    let allocated = block.allocated().wrapping_sub(begun.allocated);
    let stages = block.entered.get().wrapping_sub(outer.entered);
    let ns = took.map_or(0, |took| took.ns);
    block.spans.end_own();
    let query = Query {
        failed,
        allocated: allocated.saturating_sub(nested.allocated),
        stages: stages.saturating_sub(nested.entered),
        rows: block.rows.get().wrapping_sub(outer.rows),
        timing: took.map(|Took { ns, weight }| Timing { ns, own_ns: ns.saturating_sub(nested.ns), weight }),
    };
    block.record_query(begun.set, query);
    block.rows.set(outer.rows);
    block.query_start.set(outer.start);
    block.set_labels(outer.labels);
    block.set_weight(begun.outer_weight);
    if outer.labels == NO_LABELS {
        Nested::default().set(block);
        if block.spans.seed() != 0 {
            block.spans.end_query(begun.set, failed, ns);
        }
    } else {
        let sum = Nested {
            ns: outer.nested.ns.wrapping_add(ns),
            allocated: outer.nested.allocated.wrapping_add(allocated),
            entered: outer.nested.entered.wrapping_add(stages),
        };
        sum.set(block);
    }
}

/// Counts and times the query that it was made for, and labels its thread, until it is dropped.
#[must_use = "the query ends when this is dropped"]
pub struct QueryGuard<'a> {
    query: Option<EnteredQuery>,
    stage: &'static Stage,
    frame: &'a QueryFrame,
    failed: bool,
    _not_send: PhantomData<*const ()>,
}

/// Enters a query: a stage that is also the root of a statement's execution, with labels. `labels` is only called if the
/// query is recorded.
#[inline(always)]
pub fn enter_query<'a>(
    stage: &'static Stage,
    labels: impl FnOnce() -> Labels,
    frame: &'a mut QueryFrame,
) -> QueryGuard<'a> {
    let mut query = None;
    if let Some(call) = stage.call()
        && let Some(block) = thread::block()
    {
        query = Some(EnteredQuery::new(block, call, labels().number(), frame));
    }
    QueryGuard { query, stage, frame, failed: false, _not_send: PhantomData }
}

impl QueryGuard<'_> {
    /// The call counts as an error.
    #[inline(always)]
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for QueryGuard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(query) = self.query {
            leave_query(query, self.stage, self.frame, self.failed);
        }
    }
}

#[inline(never)]
fn leave_query(query: EnteredQuery, stage: &'static Stage, frame: &QueryFrame, failed: bool) {
    match thread::present() {
        Some(block) => query.leave(block, stage.running().stage, frame, failed),
        None => registry::refuse_at_exit(),
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
