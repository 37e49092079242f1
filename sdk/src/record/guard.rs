//! The guards that the macros put around a stage's or a query's body.

use std::marker::PhantomData;

use super::block::{Block, Call};
use super::labels::{self, LabelValue};
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
        if let Some(entered) = &self.entered {
            entered.leave(self.failed);
        }
    }
}

/// Times the query that it was made for and labels its thread until it is dropped.
#[must_use = "the query ends when this is dropped"]
pub struct QueryGuard {
    entered: Option<(Entered, u32)>,
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
        let set = key.with_label(|key| {
            tenant.with_label(|tenant| {
                user.with_label(|user| {
                    database.with_label(|database| labels::intern(block, [key, tenant, user, database]))
                })
            })
        });
        (Entered::new(block, stage, Some(set)), set)
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
        if let Some((entered, set)) = &self.entered {
            let call = entered.leave(self.failed);
            entered.block.record_labels(*set, call);
        }
    }
}
