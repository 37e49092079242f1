//! The guards that the macros put around a stage's or a query's body.
//!
//! What a guard must remember of a call that is not timed fits one word; what a timed one needs beside it stands in a
//! [`Frame`] of the caller's, which an untimed call leaves untouched.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::block::{Block, Query, Timing};
use super::interner::NO_LABELS;
use super::labels::Labels;
use super::stage::{Call, Stage};
use super::{observer, rates, registry, spans, thread};

/// What a timed call remembers between entering a stage and leaving it.
#[derive(Clone, Copy, Debug)]
struct Timed {
    start: u64,
    allocated: u64,
    /// The children's time that the enclosing stage had gathered.
    outer_child_ns: u64,
    /// What the call stands for.
    weight: u32,
    /// Whether it is a span of its query's trace.
    spans: bool,
}

/// Room for what a timed call remembers, in the stack frame of the function that is a stage.
#[derive(Debug)]
pub struct Frame(MaybeUninit<Timed>);

impl Frame {
    /// Writes nothing.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

/// A call that is under way: the depth of the path with it, and flags. 0 is no call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entered(u64);

const TIMED: u64 = 1 << 32;
/// The thread was unwinding already, so that the call is part of the cleaning up.
const UNWINDING: u64 = 1 << 33;

impl Entered {
    const NONE: Self = Self(0);

    /// Enters a stage. The outermost one of a thread that is in no query decides whether it is timed.
    #[inline(always)]
    pub(crate) fn new(block: &Block, call: Call, frame: &mut Frame) -> Self {
        let depth = block.depth();
        if depth == 0 {
            decide_outside(block);
        }
        Self::within(block, depth, call, frame)
    }

    /// Enters a stage of what was decided before.
    #[inline(always)]
    fn within(block: &Block, depth: u32, call: Call, frame: &mut Frame) -> Self {
        block.push(depth, call.stage);
        let mut word = u64::from(depth + 1);
        if std::thread::panicking() {
            word |= UNWINDING;
        }
        if call.timed && block.weight() != 0 {
            word |= TIMED;
            start(block, frame, call);
        }
        Self(word)
    }

    #[inline(always)]
    fn begun(self) -> bool {
        self.0 != 0
    }

    /// The path's depth before it.
    #[inline(always)]
    fn depth(self) -> u32 {
        (self.0 as u32).wrapping_sub(1)
    }

    #[inline(always)]
    fn is_timed(self) -> bool {
        self.0 & TIMED != 0
    }

    /// What it remembers, if it is timed.
    #[inline(always)]
    fn timed(self, frame: &Frame) -> Option<Timed> {
        // SAFETY: `within`, which alone makes a call that is timed, has written the frame that it is used with.
        self.is_timed().then(|| unsafe { frame.0.assume_init() })
    }

    /// Leaves it; what was timed, if it was. `frame` is the one that it was entered with.
    #[inline(always)]
    pub(crate) fn leave(self, block: &Block, stage: u32, frame: &Frame, failed: bool) -> Option<Timing> {
        let timing = match self.timed(frame) {
            Some(timed) => Some(stop(block, self.depth(), stage, &timed, failed)),
            None => {
                block.count_stage(stage, failed);
                None
            }
        };
        self.left(block, stage);
        timing
    }

    /// The thread is out of it.
    #[inline(always)]
    fn left(self, block: &Block, stage: u32) {
        block.set_depth(self.depth());
        if std::thread::panicking() {
            self.unwound(block, stage);
        }
    }

    #[cold]
    #[inline(never)]
    fn unwound(self, block: &Block, stage: u32) {
        if self.0 & UNWINDING == 0 {
            block.record_panic(stage);
        }
    }
}

/// Whether the stage that a thread enters outside of any stage is timed, unless a query says so.
#[inline(never)]
fn decide_outside(block: &Block) {
    if block.labels() == NO_LABELS {
        block.set_weight(rates::decide(block, NO_LABELS));
    }
}

/// What is only done for a timed call stands in functions of its own: beside reading the clock it costs nothing there, and
/// in its caller it would take registers from the calls that are counted, and from the stage itself.
#[inline(never)]
fn start(block: &Block, frame: &mut Frame, call: Call) {
    observer::entered(call.stage);
    block.entered.add(1);
    let outer_child_ns = block.child_ns.get();
    block.child_ns.set(0);
    let (allocated, weight) = (block.allocated(), block.weight());
    // Last, so that the stage's own time has as little of ours in it as can be.
    frame.0.write(Timed { start: block.ticks(), allocated, outer_child_ns, weight, spans: call.spans });
}

#[inline(never)]
fn stop(block: &Block, depth: u32, stage: u32, timed: &Timed, failed: bool) -> Timing {
    let ns = block.to_ns(block.ticks().saturating_sub(timed.start));
    let allocated = block.allocated().wrapping_sub(timed.allocated);
    let own_ns = ns.saturating_sub(block.child_ns.get());
    block.child_ns.set(timed.outer_child_ns.wrapping_add(ns));
    let timing = Timing { ns, own_ns, weight: timed.weight };
    block.record_stage(stage, failed, allocated, timing);
    if timed.spans {
        spans::leave(block, depth, stage, failed, timed.start, timing, allocated);
    }
    observer::left(stage, failed);
    timing
}

/// Counts and times the stage that it was made for until it is dropped.
#[must_use = "the stage ends when this is dropped"]
pub struct StageGuard<'a> {
    entered: Entered,
    stage: &'static Stage,
    frame: &'a Frame,
    failed: bool,
    /// A guard belongs to the thread that entered the stage.
    _not_send: PhantomData<*const ()>,
}

/// Enters a stage. Costs a clock read and a few stores in the thread's own memory; if the stage is off, a load and two
/// branches.
#[inline(always)]
pub fn enter<'a>(stage: &'static Stage, frame: &'a mut Frame) -> StageGuard<'a> {
    let mut entered = Entered::NONE;
    if let Some(call) = stage.call()
        && let Some(block) = thread::block()
    {
        entered = Entered::new(block, call, frame);
    }
    StageGuard { entered, stage, frame, failed: false, _not_send: PhantomData }
}

impl StageGuard<'_> {
    /// The call counts as an error.
    #[inline(always)]
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for StageGuard<'_> {
    /// Small, so that it goes where the guard is dropped and the guard itself never into memory.
    #[inline(always)]
    fn drop(&mut self) {
        if self.entered.begun() {
            leave(self.entered, self.stage, self.frame, self.failed);
        }
    }
}

/// Counts a call that is not timed, with nothing to save and restore around it; all else stands in functions that it ends in.
#[inline(never)]
fn leave(entered: Entered, stage: &'static Stage, frame: &Frame, failed: bool) {
    // A guard may outlive its thread's hold of the block, within a thread-local that is destroyed late.
    let Some(block) = thread::present() else { return registry::refuse_at_exit() };
    if entered.is_timed() {
        return leave_timed(block, entered, stage, frame, failed);
    }
    let number = stage.running().stage;
    block.count_stage(number, failed);
    entered.left(block, number);
}

#[inline(never)]
fn leave_timed(block: &Block, entered: Entered, stage: &'static Stage, frame: &Frame, failed: bool) {
    entered.leave(block, stage.running().stage, frame, failed);
}

/// Room for what a query remembers, in the stack frame of the function that is one.
#[derive(Debug)]
pub struct QueryFrame {
    stage: Frame,
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
        let timing = self.0.leave(block, stage, &frame.stage, failed);
        // SAFETY: `new` has written it.
        let begun = unsafe { frame.query.assume_init() };
        if self.0.0 & WHOLE != 0 {
            // SAFETY: what sets the flag has written it.
            let outer = unsafe { frame.outer.assume_init() };
            return end_whole(block, begun, outer, timing, failed);
        }
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
#[inline(never)]
fn end_whole(block: &Block, begun: Begun, outer: Outer, timing: Option<Timing>, failed: bool) {
    let nested = Nested::get(block);
    let allocated = block.allocated().wrapping_sub(begun.allocated);
    let stages = block.entered.get().wrapping_sub(outer.entered);
    let ns = timing.map_or(0, |timing| timing.ns);
    let query = Query {
        failed,
        allocated: allocated.saturating_sub(nested.allocated),
        stages: stages.saturating_sub(nested.entered),
        rows: block.rows.get().wrapping_sub(outer.rows),
        timing: timing.map(|t| Timing { own_ns: t.ns.saturating_sub(nested.ns), ..t }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::block::{LabelFigures, StageFigures};
    use crate::record::clock::Clock;

    /// A clock that goes back by a minute while a stage runs.
    const BACK: u64 = 60_000_000_000;

    fn put_forward(frame: &mut Frame) {
        // SAFETY: the tests only do it to calls that are timed.
        unsafe { frame.0.assume_init_mut() }.start += BACK;
    }

    #[test]
    fn a_clock_that_goes_backwards_makes_a_duration_of_nothing() {
        let block = Block::map().unwrap();
        block.adopt(7, None, Clock { tsc: false, ns_per_tick: 1 << 32 });
        let (root, stage) =
            (Call { stage: 100, timed: true, spans: true }, Call { stage: 101, timed: true, spans: true });
        let (mut query_frame, mut frame) = (QueryFrame::new(), Frame::new());
        let query = EnteredQuery::new(block, root, 2, &mut query_frame);
        let inner = Entered::new(block, stage, &mut frame);
        put_forward(&mut frame);
        // What looks from outside meanwhile sees a query that has just begun.
        block.query_start.add(BACK);
        assert_eq!(block.activity().map(|(.., since)| since), Some(Some(0)));
        inner.leave(block, stage.stage, &frame, false);
        put_forward(&mut query_frame.stage);
        query.leave(block, root.stage, &query_frame, false);
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
        let mut frames = [Frame::new(), Frame::new()];
        let parent = Entered::new(block, Call { stage: 100, timed: true, spans: true }, &mut frames[0]);
        let child = Entered::new(block, Call { stage: 101, timed: true, spans: true }, &mut frames[1]);
        child.leave(block, 101, &frames[1], false);
        block.child_ns.add(BACK);
        parent.leave(block, 100, &frames[0], false);
        let mut sum = StageFigures::default();
        block.read_stage(100, &mut sum);
        assert_eq!((sum.timed, sum.self_ns), (1, 0));
    }
}
