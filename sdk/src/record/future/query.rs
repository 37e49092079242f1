//! A future that is a query.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::stage::{AsyncCall, OnThread, Polled};
use crate::record::block::{Block, Query, Timing};
use crate::record::cells::Cell64;
use crate::record::interner::NO_LABELS;
use crate::record::labels::Labels;
use crate::record::spans::Suspended;
use crate::record::stage::Stage;
use crate::record::{rates, thread};

/// What a query's future keeps beside what a stage's does.
pub struct AsyncQuery {
    pub(crate) call: AsyncCall,
    pub(crate) set: u32,
    /// Of the queries nested in this one, over all polls.
    nested: [u64; 3],
    stages: u64,
    rows: u64,
    trace: Trace,
}

/// The spans of a query that is followed, while it is on no thread.
#[derive(Default)]
struct Trace {
    /// 0 if it is not followed.
    seed: u64,
    remote: [u64; 3],
    kept: Suspended,
}

impl Trace {
    /// Goes on with it on this thread.
    fn resume(&self, block: &Block) {
        if self.seed != 0 {
            block.spans.resume(self.seed);
            block.spans.set_remote(self.remote);
            block.spans.go_on(&self.kept);
        }
    }

    /// Takes it off the thread.
    fn suspend(&mut self, block: &Block) {
        if self.seed != 0 {
            self.remote = block.spans.remote();
            block.spans.suspend(&mut self.kept);
        }
    }
}

/// What a poll of a query changed on its thread.
pub(crate) struct QueryOnThread {
    pub(crate) stage: OnThread,
    pub(crate) outer_labels: u32,
    outer_weight: u32,
    outer_start: u64,
    outer_nested: [u64; 3],
    entered: u64,
    rows: u64,
}

/// What a poll adds to its query.
#[derive(Clone, Copy, Default)]
pub(crate) struct QueryPolled {
    pub(crate) stage: Polled,
    /// Time, allocated bytes and stage calls of the queries that finished within.
    pub(crate) nested: [u64; 3],
    pub(crate) stages: u64,
    pub(crate) rows: u64,
}

fn nested(block: &Block) -> [&Cell64; 3] {
    [&block.nested_ns, &block.nested_allocated, &block.nested_entered]
}

impl QueryOnThread {
    /// `enter` puts the query's stage on the thread and tells when the query began.
    pub(crate) fn new(
        block: &'static Block,
        set: u32,
        weight: u32,
        enter: impl FnOnce() -> (OnThread, u64),
    ) -> Self {
        let (outer_labels, outer_weight) = (block.labels(), block.weight());
        block.set_weight(weight);
        block.set_labels(set);
        let outer_nested = nested(block).map(|cell| {
            let outer = cell.get();
            cell.set(0);
            outer
        });
        let (entered, rows) = (block.entered.get(), block.rows.get());
        let outer_start = block.query_start.get();
        let (stage, start) = enter();
        block.query_start.set(start);
        Self { stage, outer_labels, outer_weight, outer_start, outer_nested, entered, rows }
    }

    /// Gives the thread back. It must still hold the block.
    pub(crate) fn leave(&self) -> QueryPolled {
        QueryPolled { stage: self.stage.leave(), ..self.leave_query() }
    }

    /// Gives back all but the stage.
    pub(crate) fn leave_query(&self) -> QueryPolled {
        let block = self.stage.block;
        let polled = QueryPolled {
            stage: Polled::default(),
            nested: nested(block).map(Cell64::get),
            stages: block.entered.get().wrapping_sub(self.entered),
            rows: block.rows.get().wrapping_sub(self.rows),
        };
        block.rows.set(self.rows);
        block.query_start.set(self.outer_start);
        for (cell, outer) in nested(block).into_iter().zip(self.outer_nested) {
            cell.set(outer);
        }
        block.set_labels(self.outer_labels);
        block.set_weight(self.outer_weight);
        polled
    }
}

/// Takes part in a poll of a query, and ends it also when the poll unwinds.
pub struct PollingQuery<'a> {
    query: &'a mut AsyncQuery,
    on: QueryOnThread,
    /// Whether the thread's ring has the query's spans meanwhile.
    followed: bool,
}

impl Drop for PollingQuery<'_> {
    fn drop(&mut self) {
        self.query.add(&self.on.leave());
        if self.followed {
            self.query.trace.suspend(self.on.stage.block);
        }
    }
}

impl AsyncQuery {
    pub(crate) fn new(stage: &'static Stage, set: u32) -> Self {
        let call = AsyncCall::new(stage);
        Self { call, set, nested: [0; 3], stages: 0, rows: 0, trace: Trace::default() }
    }

    /// Another query with the labels, which has not begun.
    pub(crate) fn afresh(&self) -> Self {
        Self::new(self.call.stage, self.set)
    }

    /// Puts the query on the thread for a poll. `None` if its stage is off or the thread can't record.
    pub(crate) fn enter(&mut self) -> Option<QueryOnThread> {
        let call = self.call.call()?;
        let block = thread::block()?;
        let weight = if self.call.is_new() {
            block.record_live(self.set, 1);
            if block.labels() == NO_LABELS { rates::decide(block, self.set) } else { block.weight() }
        } else {
            // What was decided at the first poll, on whatever thread that was.
            self.call.weight()
        };
        let own = &mut self.call;
        Some(QueryOnThread::new(block, self.set, weight, || {
            let on = own.enter_on(block, call);
            (on, own.start)
        }))
    }

    /// Counts a poll that ended.
    pub(crate) fn add(&mut self, polled: &QueryPolled) {
        self.call.add(&polled.stage);
        for (sum, part) in self.nested.iter_mut().zip(polled.nested) {
            *sum += part;
        }
        self.stages += polled.stages;
        self.rows += polled.rows;
    }

    pub(crate) fn poll(&mut self) -> Option<PollingQuery<'_>> {
        let first = self.call.is_new();
        let spans = self.call.stage.running().spans;
        let on = self.enter()?;
        let block = on.stage.block;
        // A query that is followed on the thread already keeps the thread's ring.
        let free = block.spans.seed() == 0;
        if !first && free {
            self.trace.resume(block);
        } else if first && on.outer_labels == NO_LABELS && on.stage.timed && spans {
            // The outermost query is the one that is followed.
            block.spans.begin_query(|| block.next_random());
            self.trace.seed = block.spans.seed();
        }
        let followed = free && self.trace.seed != 0;
        Some(PollingQuery { query: self, on, followed })
    }

    /// Records the query, which ended at `end` ticks, or now.
    pub(crate) fn finish(&mut self, failed: bool, cancelled: bool, end: Option<u64>) {
        self.close(failed || cancelled, failed, |call| call.finish(failed, cancelled, end));
    }

    /// Records a query that took no longer than what was pulled from it, as [`AsyncCall::finish_pulled`] does.
    pub(crate) fn finish_pulled(&mut self, failed: bool, cancelled: bool, produced_ns: u64) {
        self.close(failed || cancelled, failed, |call| call.finish_pulled(failed, cancelled, produced_ns));
    }

    /// Records the query, whose call is recorded by `finish`. `keep` says that its trace is one of a failure.
    fn close(
        &mut self,
        keep: bool,
        failed: bool,
        finish: impl FnOnce(&mut AsyncCall) -> Option<(&'static Block, u64, Option<Timing>)>,
    ) {
        let mut trace = std::mem::take(&mut self.trace);
        if let Some(block) = thread::present() {
            if trace.seed != 0 && block.spans.seed() != 0 {
                // Another query is followed on the thread: this one's trace gives way, and its span is one of the other's.
                block.spans.refused.traces.add(1);
                trace.seed = 0;
            }
            trace.resume(block);
            if trace.seed != 0 {
                block.spans.take_back(&trace.kept);
            }
            block.spans.begin_own(self.set, trace.seed != 0);
        }
        let finished = finish(&mut self.call);
        if let Some(block) = thread::present() {
            block.spans.end_own();
        }
        let Some((block, allocated, timing)) = finished else { return };
        if trace.seed != 0 {
            block.spans.end_query(self.set, keep, timing.map_or(0, |timing| timing.ns));
        }
        let [nested_ns, nested_allocated, nested_entered] = self.nested;
        let own = timing.map(|t| Timing { own_ns: t.ns.saturating_sub(nested_ns), ..t });
        let query = Query {
            failed,
            allocated: allocated.saturating_sub(nested_allocated),
            stages: self.stages.saturating_sub(nested_entered),
            rows: self.rows,
            timing: own,
        };
        block.record_query(self.set, query);
        block.record_live(self.set, -1);
        // The enclosing query, if there is one at this moment, leaves out what this one has counted.
        if block.labels() != NO_LABELS {
            block.nested_ns.add(timing.map_or(0, |timing| timing.ns));
            block.nested_allocated.add(allocated);
            block.nested_entered.add(self.stages);
        }
    }
}

/// A future that is a query.
#[must_use = "futures do nothing unless polled"]
pub struct QueryFuture<F: Future, E: Fn(&F::Output) -> bool> {
    future: F,
    failed: E,
    query: AsyncQuery,
}

/// Makes a future a query with these labels.
pub fn query_future<F: Future, E: Fn(&F::Output) -> bool>(
    stage: &'static Stage,
    labels: Labels,
    future: F,
    failed: E,
) -> QueryFuture<F, E> {
    let query = AsyncQuery::new(stage, labels.number());
    QueryFuture { future, failed, query }
}

impl<F: Future, E: Fn(&F::Output) -> bool> Future for QueryFuture<F, E> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future is not moved out of the pinned wrapper, is pinned again at once and is dropped in place.
        let (future, query, failed) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.query, &this.failed)
        };
        let polling = query.poll();
        let poll = future.poll(context);
        // While the query is on the thread: what the error says is noted on it.
        let failed = matches!(&poll, Poll::Ready(output) if failed(output));
        drop(polling);
        if poll.is_ready() {
            query.finish(failed, false, None);
        }
        poll
    }
}

impl<F: Future, E: Fn(&F::Output) -> bool> Drop for QueryFuture<F, E> {
    fn drop(&mut self) {
        self.query.finish(false, true, None);
    }
}
