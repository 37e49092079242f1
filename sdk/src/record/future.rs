//! Async stages: the stage and its labels are on the thread during each poll and off it between polls.
//!
//! One wrapper holds the future once. While it is polled the thread's path ends in the stage and its clock runs for it; when
//! the poll ends both are given back to whatever the thread was in. A call is recorded when the future is done, or when it
//! is dropped before that, which counts as cancelled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::block::{Block, Query, Timing};
use super::cells::Cell64;
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
pub(crate) struct AsyncCall {
    stage: &'static Stage,
    /// When it was first polled, in ticks; 0 if the call is not timed.
    start: u64,
    /// Time in polls, and of that the time in no stage below, in nanoseconds.
    busy_ns: u64,
    own_ns: u64,
    allocated: u64,
    polls: u32,
    /// What the root has decided: the exponent of what a timed call stands for, plus 1; 0 if none is timed. It holds for
    /// the stages below also if this one is not timed itself.
    rate: u8,
    state: State,
}

/// What a poll changed on its thread, to be put back when it ends or unwinds.
pub(crate) struct OnThread {
    pub(crate) block: &'static Block,
    pub(crate) timed: bool,
    /// The path's depth before.
    pub(crate) depth: u32,
    pub(crate) outer_child_ns: u64,
    allocated: u64,
    pub(crate) start: u64,
}

/// What a poll adds to its call.
#[derive(Clone, Copy, Default)]
pub(crate) struct Polled {
    pub(crate) busy_ns: u64,
    pub(crate) own_ns: u64,
    pub(crate) allocated: u64,
    /// When it ended, in ticks; 0 if it was not timed.
    pub(crate) end: u64,
}

impl OnThread {
    #[inline]
    pub(crate) fn new(block: &'static Block, stage: u32, timed: bool) -> Self {
        let depth = block.depth();
        block.push(depth, stage);
        let (mut outer_child_ns, mut start) = (0, 0);
        let allocated = block.allocated();
        if timed {
            outer_child_ns = block.child_ns.get();
            block.child_ns.set(0);
            start = block.ticks();
        }
        Self { block, timed, depth, outer_child_ns, allocated, start }
    }

    /// Gives the thread back. It must still hold the block.
    #[inline]
    pub(crate) fn leave(&self) -> Polled {
        let block = self.block;
        let mut polled = Polled::default();
        if self.timed {
            polled.end = block.ticks();
            let ns = block.to_ns(polled.end.saturating_sub(self.start));
            polled.busy_ns = ns;
            polled.own_ns = ns.saturating_sub(block.child_ns.get());
            block.child_ns.set(self.outer_child_ns.wrapping_add(ns));
        }
        polled.allocated = block.allocated().wrapping_sub(self.allocated);
        block.set_depth(self.depth);
        polled
    }
}

/// Takes part in a poll, and ends it also when the poll unwinds.
struct Polling<'a> {
    call: &'a mut AsyncCall,
    on: OnThread,
}

impl Drop for Polling<'_> {
    #[inline]
    fn drop(&mut self) {
        // A poll can't outlive its thread's hold of the block: it is on the thread's stack.
        self.call.add(&self.on.leave());
    }
}

impl AsyncCall {
    pub(crate) const fn new(stage: &'static Stage) -> Self {
        Self { stage, start: 0, busy_ns: 0, own_ns: 0, allocated: 0, polls: 0, rate: 0, state: State::New }
    }

    /// What a timed call stands for; 0 if none is timed.
    fn weight(&self) -> u32 {
        match self.rate {
            0 => 0,
            rate => 1 << (rate - 1),
        }
    }

    /// Whether it has begun and not ended.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running | State::Panicked)
    }

    /// How to record it: a call that has begun goes on as it began, whatever was switched off since.
    #[inline]
    fn call(&self) -> Option<Call> {
        match self.state {
            State::New => self.stage.call(),
            _ => Some(Call { timed: self.start != 0, ..self.stage.running() }),
        }
    }

    /// Puts the stage on the thread for a poll. `None` if the stage is off or the thread can't record.
    #[inline]
    pub(crate) fn enter(&mut self) -> Option<OnThread> {
        let call = self.call()?;
        let block = thread::block()?;
        if block.depth() == 0 && block.labels() == NO_LABELS {
            let first = self.state == State::New;
            block.set_weight(if first { rates::decide(block, NO_LABELS) } else { self.weight() });
        }
        Some(self.enter_on(block, call))
    }

    #[inline]
    fn enter_on(&mut self, block: &'static Block, call: Call) -> OnThread {
        self.polls = self.polls.saturating_add(1);
        if self.state != State::New {
            return OnThread::new(block, call.stage, call.timed);
        }
        self.state = State::Running;
        // Weights are powers of two.
        self.rate = block.weight().checked_ilog2().map_or(0, |k| k as u8 + 1);
        let timed = call.timed && self.rate != 0;
        if timed {
            block.entered.add(1);
        }
        let on = OnThread::new(block, call.stage, timed);
        if timed {
            self.start = on.start.max(1);
        }
        on
    }

    /// Counts a poll that ended.
    #[inline]
    pub(crate) fn add(&mut self, polled: &Polled) {
        self.busy_ns = self.busy_ns.wrapping_add(polled.busy_ns);
        self.own_ns = self.own_ns.wrapping_add(polled.own_ns);
        self.allocated = self.allocated.wrapping_add(polled.allocated);
        if std::thread::panicking() {
            self.state = State::Panicked;
        }
    }

    #[inline]
    fn poll(&mut self) -> Option<Polling<'_>> {
        let on = self.enter()?;
        Some(Polling { call: self, on })
    }

    /// Records the call, which ended at `end` ticks, or now. `None` if it was recorded or never began.
    pub(crate) fn finish(
        &mut self,
        failed: bool,
        cancelled: bool,
        end: Option<u64>,
    ) -> Option<(&'static Block, u64, Option<Timing>)> {
        if !self.is_running() {
            return None;
        }
        let panicked = self.state == State::Panicked;
        self.state = State::Done;
        let stage = self.stage.running().stage;
        let block = thread::block()?;
        let timing = (self.start != 0).then(|| {
            let end = end.unwrap_or_else(|| block.ticks());
            let ns = block.to_ns(end.saturating_sub(self.start)).max(self.busy_ns);
            Timing { ns, own_ns: self.own_ns, weight: self.weight() }
        });
        let awaiting_ns =
            timing.map_or(0, |timing| (timing.ns - self.busy_ns).wrapping_mul(u64::from(timing.weight)));
        match timing {
            Some(timing) => {
                block.record_stage(stage, failed, self.allocated, timing);
                // What ended before now is no part of the tree that a trace is: it is recorded late, at any depth.
                if end.is_none() && self.stage.running().spans {
                    spans::leave(block, block.depth(), stage, failed, self.start, timing, self.allocated);
                }
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
            call.finish(failed(output), false, None);
        }
        poll
    }
}

impl<F: Future, E: Fn(&F::Output) -> bool> Drop for StageFuture<F, E> {
    fn drop(&mut self) {
        self.call.finish(false, true, None);
    }
}

/// What a query's future keeps beside what a stage's does.
pub(crate) struct AsyncQuery {
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
    records: Vec<Record>,
}

impl Trace {
    /// Goes on with it on this thread.
    fn resume(&self, block: &Block) {
        if self.seed != 0 {
            block.spans.resume(self.seed);
            block.spans.set_remote(self.remote);
        }
    }

    /// Takes it off the thread.
    fn suspend(&mut self, block: &Block) {
        if self.seed != 0 {
            self.remote = block.spans.remote();
            block.spans.suspend(&mut self.records);
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
struct PollingQuery<'a> {
    query: &'a mut AsyncQuery,
    on: QueryOnThread,
}

impl Drop for PollingQuery<'_> {
    fn drop(&mut self) {
        self.query.add(&self.on.leave());
        self.query.trace.suspend(self.on.stage.block);
    }
}

impl AsyncQuery {
    pub(crate) fn new(stage: &'static Stage, set: u32) -> Self {
        let call = AsyncCall::new(stage);
        Self { call, set, nested: [0; 3], stages: 0, rows: 0, trace: Trace::default() }
    }

    /// Puts the query on the thread for a poll. `None` if its stage is off or the thread can't record.
    pub(crate) fn enter(&mut self) -> Option<QueryOnThread> {
        let call = self.call.call()?;
        let block = thread::block()?;
        let weight = if self.call.state != State::New {
            // What was decided at the first poll, on whatever thread that was.
            self.call.weight()
        } else {
            block.record_live(self.set, 1);
            if block.labels() == NO_LABELS { rates::decide(block, self.set) } else { block.weight() }
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

    fn poll(&mut self) -> Option<PollingQuery<'_>> {
        let first = self.call.state == State::New;
        let spans = self.call.stage.running().spans;
        let on = self.enter()?;
        let block = on.stage.block;
        if !first {
            self.trace.resume(block);
        } else if on.outer_labels == NO_LABELS && on.stage.timed && spans {
            // The outermost query is the one that is followed.
            block.spans.begin_query(|| block.next_random());
            self.trace.seed = block.spans.seed();
        }
        Some(PollingQuery { query: self, on })
    }

    /// Records the query, which ended at `end` ticks, or now.
    pub(crate) fn finish(&mut self, failed: bool, cancelled: bool, end: Option<u64>) {
        let trace = std::mem::take(&mut self.trace);
        if let Some(block) = thread::present() {
            trace.resume(block);
            trace.records.iter().for_each(|record| block.spans.push(*record));
        }
        let Some((block, allocated, timing)) = self.call.finish(failed, cancelled, end) else { return };
        if trace.seed != 0 {
            block.spans.end_query(self.set, failed || cancelled, timing.map_or(0, |timing| timing.ns));
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
        drop(polling);
        if let Poll::Ready(output) = &poll {
            query.finish(failed(output), false, None);
        }
        poll
    }
}

impl<F: Future, E: Fn(&F::Output) -> bool> Drop for QueryFuture<F, E> {
    fn drop(&mut self) {
        self.query.finish(false, true, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::block::{LabelFigures, StageFigures};
    use crate::record::{guard, registry};
    use std::pin::pin;
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
        crate::set_mode("future tests::switched", crate::Mode::Span);
        let sum = figures(&QUERY);
        assert_eq!((sum.timed + sum.untimed, sum.polls, sum.cancelled), (2, 3, 2));
        let mut sums = vec![LabelFigures::default(); labels.number() as usize + 1];
        thread::present().unwrap().read_labels(&mut sums);
        let sum = sums.pop().unwrap();
        let mut live = vec![0; sums.len() + 1];
        thread::present().unwrap().read_live(&mut live);
        assert_eq!((sum.calls, live.last()), (2, Some(&0)), "none is under way");
    }
    /// Polls until it is done, on a new thread each time.
    fn run(future: impl Future<Output = ()> + Send) {
        let mut future = pin!(future);
        loop {
            let poll = || future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
            if std::thread::scope(|scope| scope.spawn(poll).join().unwrap()) {
                return;
            }
        }
    }

    /// A call of the stage in each of three polls.
    async fn thrice(stage: &'static Stage) {
        for turn in 0..3 {
            drop(guard::enter(stage, &mut guard::Frame::new()));
            let mut waited = turn == 2;
            std::future::poll_fn(|_| {
                if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Calls that were timed, and others, on all threads.
    fn counts(stage: &'static Stage) -> (u64, u64) {
        let mut sum = StageFigures::default();
        registry::blocks().iter().for_each(|block| block.read_stage(stage.running().stage, &mut sum));
        (sum.timed, sum.untimed)
    }

    #[test]
    fn what_is_within_a_stage_that_is_only_counted_is_timed_in_each_poll() {
        static QUERY: Stage = Stage::new("counted.query", "future tests", "", 0);
        static STAGE: Stage = Stage::new("counted.stage", "future tests", "", 0);
        static IN_QUERY: Stage = Stage::new("counted in query", "future tests", "", 0);
        static IN_STAGE: Stage = Stage::new("counted in stage", "future tests", "", 0);
        crate::set_mode("future tests::counted.*", crate::Mode::Count);
        run(query_future(&QUERY, Labels::new(&"counted", &(), &(), &()), thrice(&IN_QUERY), |()| false));
        run(stage_future(&STAGE, thrice(&IN_STAGE), |()| false));
        assert_eq!((counts(&QUERY), counts(&STAGE)), ((0, 1), (0, 1)));
        assert_eq!((counts(&IN_QUERY), counts(&IN_STAGE)), ((3, 0), (3, 0)));
    }
}
