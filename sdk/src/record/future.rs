//! Async stages: the stage and its labels are on the thread during each poll and off it between polls.
//!
//! One wrapper holds the future once. While it is polled the thread's path ends in the stage and its clock runs for it; when
//! the poll ends both are given back to whatever the thread was in. A call is recorded when the future is done, or when it
//! is dropped before that, which counts as cancelled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::block::{Block, Query, Timing};
use super::interner::NO_LABELS;
use super::labels::Labels;
use super::spans::{self, Record};
use super::stage::{Call, Stage};
use super::{rates, thread};

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Running,
    Panicked,
    Done,
}

/// One call of an async stage, between and over its polls.
struct AsyncCall {
    stage: &'static Stage,
    /// When it was first polled, in ticks.
    start: u64,
    /// Time in polls, and of that the time in no stage below, in nanoseconds.
    busy_ns: u64,
    own_ns: u64,
    allocated: u64,
    polls: u32,
    /// The exponent of what the call stands for, plus 1; 0 if it is not timed.
    rate: u8,
    state: State,
}

/// What a poll changed on the thread, to be put back when it ends or unwinds.
struct Polling<'a> {
    call: &'a mut AsyncCall,
    block: &'static Block,
    depth: u32,
    outer_child_ns: u64,
    allocated: u64,
    start: u64,
}

impl AsyncCall {
    const fn new(stage: &'static Stage) -> Self {
        Self { stage, start: 0, busy_ns: 0, own_ns: 0, allocated: 0, polls: 0, rate: 0, state: State::New }
    }

    /// What the call stands for; 0 if it is not timed.
    fn weight(&self) -> u32 {
        match self.rate {
            0 => 0,
            rate => 1 << (rate - 1),
        }
    }

    /// Puts the stage on the thread. `None` if the stage is off or the thread can't record.
    #[inline]
    fn poll(&mut self) -> Option<Polling<'_>> {
        // A call that has begun goes on, whatever was switched off since.
        let (new, call) = (self.state == State::New, self.stage.call());
        let Call { stage, timed } = if new { call? } else { self.stage.running() };
        let block = thread::block()?;
        if new {
            if block.depth() == 0 && block.labels() == NO_LABELS {
                block.set_weight(rates::decide(block, NO_LABELS));
            }
            self.state = State::Running;
            // Weights are powers of two.
            self.rate = if timed { block.weight().checked_ilog2().map_or(0, |k| k as u8 + 1) } else { 0 };
            if self.rate != 0 {
                self.start = block.ticks();
            }
        }
        if self.polls == 0 && self.rate != 0 {
            block.entered.add(1);
        }
        self.polls = self.polls.saturating_add(1);
        let depth = block.push(stage);
        let (mut outer_child_ns, mut start) = (0, 0);
        let allocated = block.allocated();
        if self.rate != 0 {
            outer_child_ns = block.child_ns.get();
            block.child_ns.set(0);
            start = block.ticks();
        }
        Some(Polling { call: self, block, depth, outer_child_ns, allocated, start })
    }

    /// Records the call. `None` if it was recorded or never began.
    fn finish(&mut self, failed: bool, cancelled: bool) -> Option<(&'static Block, u64, Option<Timing>)> {
        let panicked = self.state == State::Panicked;
        if !matches!(self.state, State::Running | State::Panicked) {
            return None;
        }
        self.state = State::Done;
        let stage = self.stage.running().stage;
        let block = thread::block()?;
        let timing = (self.rate != 0).then(|| {
            let ns = block.to_ns(block.ticks().saturating_sub(self.start)).max(self.busy_ns);
            Timing { ns, own_ns: self.own_ns, weight: self.weight() }
        });
        let awaiting_ns =
            timing.map_or(0, |timing| (timing.ns - self.busy_ns).wrapping_mul(u64::from(timing.weight)));
        match timing {
            Some(timing) => {
                block.record_stage(stage, failed, self.allocated, timing);
                spans::leave(block, block.depth(), stage, failed, self.start, timing, self.allocated);
            }
            None => block.count_stage(stage, failed),
        }
        block.record_async(stage, u64::from(self.polls), awaiting_ns, cancelled && !panicked);
        if panicked {
            block.record_panic(stage);
        }
        Some((block, self.allocated, timing))
    }
}

impl Drop for Polling<'_> {
    #[inline]
    fn drop(&mut self) {
        // A poll can't outlive its thread's hold of the block: it is on the thread's stack.
        let block = self.block;
        if self.call.rate != 0 {
            let ns = block.to_ns(block.ticks().saturating_sub(self.start));
            self.call.busy_ns = self.call.busy_ns.wrapping_add(ns);
            let own_ns = ns.saturating_sub(block.child_ns.get());
            self.call.own_ns = self.call.own_ns.wrapping_add(own_ns);
            block.child_ns.set(self.outer_child_ns.wrapping_add(ns));
        }
        self.call.allocated =
            self.call.allocated.wrapping_add(block.allocated().wrapping_sub(self.allocated));
        block.set_depth(self.depth);
        if std::thread::panicking() {
            self.call.state = State::Panicked;
        }
    }
}

/// A future that is a stage.
#[must_use = "futures do nothing unless polled"]
pub struct StageFuture<F: Future, E: Fn(&F::Output) -> bool> {
    future: F,
    /// A closure without captures: it takes no room.
    failed: E,
    call: AsyncCall,
}

/// Makes a future a stage. `failed` tells whether its result counts as an error.
#[inline]
pub fn stage_future<F: Future, E: Fn(&F::Output) -> bool>(
    stage: &'static Stage,
    future: F,
    failed: E,
) -> StageFuture<F, E> {
    StageFuture { future, failed, call: AsyncCall::new(stage) }
}

impl<F: Future, E: Fn(&F::Output) -> bool> Future for StageFuture<F, E> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future is not moved out of the pinned wrapper, is pinned again at once and is dropped in place.
        let (future, call, failed) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.call, &this.failed)
        };
        let polling = call.poll();
        let poll = future.poll(context);
        drop(polling);
        if let Poll::Ready(output) = &poll {
            call.finish(failed(output), false);
        }
        poll
    }
}

impl<F: Future, E: Fn(&F::Output) -> bool> Drop for StageFuture<F, E> {
    fn drop(&mut self) {
        self.call.finish(false, true);
    }
}

/// What a query's future keeps beside what a stage's does.
struct AsyncQuery {
    call: AsyncCall,
    set: u32,
    /// Of the queries nested in this one, over all polls.
    nested_ns: u64,
    nested_allocated: u64,
    nested_entered: u64,
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
    records: Vec<Record>,
}

/// What a poll of a query changed on the thread, beside what its stage did.
struct PollingQuery<'a> {
    /// Puts the stage's part back when it is dropped, after this one's own drop.
    _polling: Polling<'a>,
    sums: QuerySums<'a>,
    block: &'static Block,
    labels: u32,
    weight: u32,
    query_start: u64,
    nested: [u64; 3],
    entered: u64,
    rows: u64,
}

/// The query's own sums, borrowed apart from its call.
struct QuerySums<'a> {
    nested_ns: &'a mut u64,
    nested_allocated: &'a mut u64,
    nested_entered: &'a mut u64,
    stages: &'a mut u64,
    rows: &'a mut u64,
    trace: &'a mut Trace,
}

impl AsyncQuery {
    fn poll(&mut self) -> Option<PollingQuery<'_>> {
        let block = thread::block()?;
        if self.call.state == State::New {
            self.call.stage.call()?;
        }
        let (labels, weight) = (block.labels(), block.weight());
        if self.call.state == State::New {
            if labels == NO_LABELS {
                block.set_weight(rates::decide(block, self.set));
            }
            // The outermost query is the one that is followed.
            if labels == NO_LABELS && block.weight() != 0 {
                block.spans.begin_query(|| block.next_random());
                self.trace.seed = block.spans.seed();
            }
        } else {
            // What was decided at the first poll, on whatever thread that was.
            block.set_weight(self.call.weight());
            if self.trace.seed != 0 {
                block.spans.resume(self.trace.seed);
                block.spans.set_remote(self.trace.remote);
            }
        }
        block.set_labels(self.set);
        let nested = [&block.nested_ns, &block.nested_allocated, &block.nested_entered].map(|cell| {
            let outer = cell.get();
            cell.set(0);
            outer
        });
        let (entered, rows) = (block.entered.get(), block.rows.get());
        let Self { call, nested_ns, nested_allocated, nested_entered, stages, rows: own_rows, trace, .. } =
            self;
        let Some(polling) = call.poll() else {
            // Switched off at this very moment.
            block.set_labels(labels);
            block.set_weight(weight);
            return None;
        };
        if polling.call.polls == 1 {
            block.record_live(self.set, 1);
        }
        let query_start = block.query_start.get();
        block.query_start.set(polling.call.start);
        let sums = QuerySums { nested_ns, nested_allocated, nested_entered, stages, rows: own_rows, trace };
        Some(PollingQuery {
            _polling: polling,
            sums,
            block,
            labels,
            weight,
            query_start,
            nested,
            entered,
            rows,
        })
    }

    fn finish(&mut self, failed: bool, cancelled: bool) {
        let trace = std::mem::take(&mut self.trace);
        if trace.seed != 0
            && let Some(block) = thread::present()
        {
            block.spans.resume(trace.seed);
            block.spans.set_remote(trace.remote);
            trace.records.into_iter().for_each(|record| block.spans.push(record));
        }
        let Some((block, allocated, timing)) = self.call.finish(failed, cancelled) else { return };
        if trace.seed != 0 {
            block.spans.end_query(self.set, failed || cancelled, timing.map_or(0, |timing| timing.ns));
        }
        let timing = timing.map(|t| Timing { own_ns: t.ns.saturating_sub(self.nested_ns), ..t });
        let query = Query {
            failed,
            allocated: allocated.saturating_sub(self.nested_allocated),
            stages: self.stages.saturating_sub(self.nested_entered),
            rows: self.rows,
            timing,
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

impl Drop for PollingQuery<'_> {
    fn drop(&mut self) {
        let block = self.block;
        *self.sums.nested_ns += block.nested_ns.get();
        *self.sums.nested_allocated += block.nested_allocated.get();
        *self.sums.nested_entered += block.nested_entered.get();
        *self.sums.stages += block.entered.get().wrapping_sub(self.entered);
        *self.sums.rows += block.rows.get().wrapping_sub(self.rows);
        block.rows.set(self.rows);
        block.query_start.set(self.query_start);
        if self.sums.trace.seed != 0 {
            self.sums.trace.remote = block.spans.remote();
            block.spans.suspend(&mut self.sums.trace.records);
        }
        for (cell, outer) in
            [&block.nested_ns, &block.nested_allocated, &block.nested_entered].into_iter().zip(self.nested)
        {
            cell.set(outer);
        }
        block.set_labels(self.labels);
        block.set_weight(self.weight);
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
    let call = AsyncCall::new(stage);
    let query = AsyncQuery {
        call,
        set: labels.number(),
        nested_ns: 0,
        nested_allocated: 0,
        nested_entered: 0,
        stages: 0,
        rows: 0,
        trace: Trace::default(),
    };
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
        drop(polling);
        if let Poll::Ready(output) = &poll {
            query.finish(failed(output), false);
        }
        poll
    }
}

impl<F: Future, E: Fn(&F::Output) -> bool> Drop for QueryFuture<F, E> {
    fn drop(&mut self) {
        self.query.finish(false, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::block::{LabelFigures, StageFigures};
    use std::task::Waker;

    fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn never_fails<T>(_: &T) -> bool {
        false
    }

    /// Figures of the stage, on this thread.
    fn figures(stage: &'static Stage) -> StageFigures {
        let mut sum = StageFigures::default();
        thread::present().unwrap().read_stage(stage.running().stage, &mut sum);
        sum
    }

    #[test]
    fn a_clock_that_goes_backwards_makes_times_of_nothing() {
        static STAGE: Stage = Stage::new("backwards", "future tests", file!(), line!());
        let mut future = Box::pin(stage_future(&STAGE, std::future::pending::<()>(), never_fails));
        assert!(poll(&mut future).is_pending());
        let busy_ns = future.call.busy_ns;
        // SAFETY: nothing is moved.
        unsafe { future.as_mut().get_unchecked_mut() }.call.start = u64::MAX;
        drop(future);
        let sum = figures(&STAGE);
        assert_eq!((sum.timed, sum.total_ns, sum.awaiting_ns, sum.cancelled), (1, busy_ns, 0, 1));
    }

    #[test]
    fn a_query_that_is_switched_off_while_it_runs_finishes_as_it_began() {
        static QUERY: Stage = Stage::new("switched", "future tests", file!(), line!());
        let labels = Labels::new(&"switched off", &(), &(), &());
        let mut queries = [(); 2]
            .map(|()| Box::pin(query_future(&QUERY, labels, std::future::pending::<()>(), never_fails)));
        let [dropped, polled] = &mut queries;
        assert!(poll(dropped).is_pending() && poll(polled).is_pending());
        crate::set_mode("future tests::switched", crate::Mode::Off);
        assert!(poll(polled).is_pending());
        drop(queries);
        crate::set_mode("future tests::switched", crate::Mode::Time);
        let sum = figures(&QUERY);
        assert_eq!((sum.timed + sum.untimed, sum.polls, sum.cancelled), (2, 3, 2));
        let mut sums = vec![LabelFigures::default(); labels.number() as usize + 1];
        thread::present().unwrap().read_labels(&mut sums);
        let sum = sums.pop().unwrap();
        let mut live = vec![0; sums.len() + 1];
        thread::present().unwrap().read_live(&mut live);
        assert_eq!((sum.calls, live.last()), (2, Some(&0)), "none is under way");
    }
}
