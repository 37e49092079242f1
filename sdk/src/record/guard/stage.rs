//! The guard of a stage.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::record::block::{Block, Nesting, Timing};
use crate::record::interner::NO_LABELS;
use crate::record::stage::{Call, Stage};
use crate::record::{observer, rates, registry, spans, thread};

/// What a timed call remembers between entering a stage and leaving it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    pub(super) start: u64,
    allocated: u64,
    /// The children's time that the enclosing stage had gathered.
    outer_child_ns: u64,
    /// What the call stands for.
    weight: u32,
    nesting: Nesting,
    /// Whether it is a span of its query's trace.
    spans: bool,
}

/// Room for what a timed call remembers, in the stack frame of the function that is a stage.
#[derive(Debug)]
pub struct Frame(pub(super) MaybeUninit<Timed>);

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

/// What a timed call took, in nanoseconds, and what it stands for.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    pub(super) ns: u64,
    pub(super) weight: u32,
}

/// A call that is under way: the depth of the path with it, and flags. 0 is no call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entered(pub(super) u64);

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
    pub(super) fn within(block: &Block, depth: u32, call: Call, frame: &mut Frame) -> Self {
        block.push(depth, call.stage);
        let mut word = u64::from(depth + 1);
        if std::thread::panicking() {
            word |= UNWINDING;
        }
        if call.timed && block.weight() != 0 {
            word |= TIMED;
            start(block, depth, frame, call);
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
    pub(super) fn timed(self, frame: &Frame) -> Option<Timed> {
        // SAFETY: `within`, which alone makes a call that is timed, has written the frame that it is used with.
        self.is_timed().then(|| unsafe { frame.0.assume_init() })
    }

    /// Leaves it; what it took and stands for, if it was timed. `frame` is the one that it was
    /// entered with.
    #[inline(always)]
    pub(crate) fn leave(self, block: &Block, stage: u32, frame: &Frame, failed: bool) -> Option<Took> {
        let took = match self.timed(frame) {
            Some(timed) => {
                let ns = stop(block, self.depth(), stage, &timed, failed);
                Some(Took { ns, weight: timed.weight })
            }
            None => {
                block.count_stage(stage, failed);
                None
            }
        };
        self.left(block, stage);
        took
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
            block.spans.fail();
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
fn start(block: &Block, depth: u32, frame: &mut Frame, call: Call) {
    observer::entered(call.stage);
    block.entered.add(1);
    let outer_child_ns = block.child_ns.get();
    block.child_ns.set(0);
    let (allocated, weight) = (block.allocated(), block.weight());
    let nesting = block.nest(depth, call.stage);
    // Last, so that the stage's own time has as little of ours in it as can be.
    let start = block.ticks();
    frame.0.write(Timed { start, allocated, outer_child_ns, weight, nesting, spans: call.spans });
}

#[inline(never)]
fn stop(block: &Block, depth: u32, stage: u32, timed: &Timed, failed: bool) -> u64 {
    let ns = block.to_ns(block.ticks().saturating_sub(timed.start));
    let allocated = block.allocated().wrapping_sub(timed.allocated);
    let own_ns = ns.saturating_sub(block.child_ns.get());
    block.child_ns.set(timed.outer_child_ns.wrapping_add(ns));
    let timing = Timing { ns, own_ns, weight: timed.weight };
    if timed.nesting == Nesting::Outermost {
        block.record_stage(stage, failed, allocated, timing);
    } else {
        block.record_nested(timed.nesting, stage, failed, allocated, timing);
    }
    if timed.spans {
        spans::leave(block, depth, stage, failed, timed.start, timing, allocated);
    }
    observer::left(stage, failed);
    ns
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
