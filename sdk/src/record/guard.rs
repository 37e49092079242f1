//! The guards that the macros put around a stage's or a query's body.

use std::marker::PhantomData;

use super::block::{Block, Call};
use super::labels::{self, KINDS, LabelValue};
use super::stage::Stage;
use super::thread;

/// What is remembered between entering a stage and leaving it.
pub(crate) struct Entered {
    block: &'static Block,
    stage: u32,
    /// What the thread was in before.
    outer: u64,
    /// The children's time that the enclosing stage had gathered.
    outer_child_ns: u64,
    allocated: u64,
    start: u64,
}

impl Entered {
    /// `labels` replaces the label set of the enclosing query, which is inherited otherwise.
    #[inline(always)]
    pub(crate) fn new(block: &'static Block, stage: u32, labels: Option<u32>) -> Self {
        let outer = block.current();
        let labels = labels.unwrap_or(outer as u32);
        block.set_current(u64::from(stage) << 32 | u64::from(labels));
        let outer_child_ns = block.child_ns.get();
        block.child_ns.set(0);
        let allocated = block.allocated();
        // Last, so that the stage's own time has as little of ours in it as can be.
        Self { block, stage, outer, outer_child_ns, allocated, start: block.ticks() }
    }

    #[inline(always)]
    pub(crate) fn leave(&self, failed: bool) -> Call {
        let block = self.block;
        let ns = block.to_ns(block.ticks().saturating_sub(self.start));
        let allocated = block.allocated().wrapping_sub(self.allocated);
        let call = Call { ns, allocated, failed };
        block.record_stage(self.stage, call, ns.saturating_sub(block.child_ns.get()));
        block.child_ns.set(self.outer_child_ns.wrapping_add(ns));
        block.set_current(self.outer);
        call
    }
}

/// What a call needs to be recorded: `None` if the stage is off or the thread can't record.
#[inline(always)]
fn begin(stage: &'static Stage) -> Option<(&'static Block, u32)> {
    let id = stage.id()?;
    Some((thread::block()?, id))
}

/// Times the stage that it was made for until it is dropped.
#[must_use = "the stage ends when this is dropped"]
pub struct StageGuard {
    entered: Option<Entered>,
    failed: bool,
    /// A guard belongs to the thread that entered the stage.
    _not_send: PhantomData<*const ()>,
}

/// Enters a stage. Costs a clock read and a few stores in the thread's own memory.
#[inline]
pub fn enter(stage: &'static Stage) -> StageGuard {
    StageGuard {
        entered: begin(stage).map(|(block, stage)| Entered::new(block, stage, None)),
        failed: false,
        _not_send: PhantomData,
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
    #[inline]
    fn drop(&mut self) {
        if let Some(entered) = &self.entered
            && thread::holds(entered.block)
        {
            entered.leave(self.failed);
        }
    }
}

/// What is remembered between entering a query and leaving it, beside what its stage remembers.
pub(crate) struct EnteredQuery {
    stage: Entered,
    set: u32,
    /// What the queries nested in the enclosing query had gathered.
    outer_nested_ns: u64,
    outer_nested_allocated: u64,
}

impl EnteredQuery {
    #[inline(always)]
    pub(crate) fn new(block: &'static Block, stage: u32, labels: [&str; KINDS]) -> Self {
        let set = labels::intern(block, labels);
        let outer_nested_ns = block.nested_ns.get();
        let outer_nested_allocated = block.nested_allocated.get();
        block.nested_ns.set(0);
        block.nested_allocated.set(0);
        let stage = Entered::new(block, stage, Some(set));
        Self { stage, set, outer_nested_ns, outer_nested_allocated }
    }

    #[inline(always)]
    pub(crate) fn leave(&self, failed: bool) {
        let block = self.stage.block;
        let call = self.stage.leave(failed);
        let own = Call {
            ns: call.ns.saturating_sub(block.nested_ns.get()),
            allocated: call.allocated.saturating_sub(block.nested_allocated.get()),
            failed,
        };
        block.record_labels(self.set, call, own);
        block.nested_ns.set(self.outer_nested_ns.wrapping_add(call.ns));
        block.nested_allocated.set(self.outer_nested_allocated.wrapping_add(call.allocated));
    }
}

/// Times the query that it was made for and labels its thread until it is dropped.
#[must_use = "the query ends when this is dropped"]
pub struct QueryGuard {
    entered: Option<EnteredQuery>,
    failed: bool,
    _not_send: PhantomData<*const ()>,
}

/// Enters a query: a stage that is also the root of a statement's execution. Beside what a stage costs, the
/// labels are hashed and looked up in a cache of the thread's own.
#[inline]
pub fn enter_query<K, T, U, D>(
    stage: &'static Stage,
    key: &K,
    tenant: &T,
    user: &U,
    database: &D,
) -> QueryGuard
where
    K: LabelValue + ?Sized,
    T: LabelValue + ?Sized,
    U: LabelValue + ?Sized,
    D: LabelValue + ?Sized,
{
    let entered = begin(stage).map(|(block, stage)| {
        key.with_label(|key| {
            tenant.with_label(|tenant| {
                user.with_label(|user| {
                    database
                        .with_label(|database| EnteredQuery::new(block, stage, [key, tenant, user, database]))
                })
            })
        })
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
        if let Some(entered) = &self.entered
            && thread::holds(entered.stage.block)
        {
            entered.leave(self.failed);
        }
    }
}
