//! A future that is a stage.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::record::block::{Block, Nesting, Timing};
use crate::record::interner::NO_LABELS;
use crate::record::spans;
use crate::record::stage::{Call, Stage};
use crate::record::{rates, thread};

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Running,
    Panicked,
    Done,
}

/// One call of an async stage, between and over its polls; of one that gives an iterator, between and over its items.
pub struct AsyncCall {
    pub(super) stage: &'static Stage,
    /// When it was first polled, in ticks; 0 if the call is not timed.
    pub(super) start: u64,
    /// Time in polls, and of that the time in no stage below, in nanoseconds.
    pub(super) busy_ns: u64,
    own_ns: u64,
    allocated: u64,
    polls: u32,
    /// What the root has decided: the exponent of what a timed call stands for, plus 1; 0 if none is timed. It holds for
    /// the stages below also if this one is not timed itself.
    rate: u8,
    /// Whether another call of the stage was being polled when it was polled first.
    inner: bool,
    state: State,
}

/// What a poll changed on its thread, to be put back when it ends or unwinds.
pub(crate) struct OnThread {
    pub(crate) block: &'static Block,
    pub(crate) timed: bool,
    /// The path's depth before.
    pub(crate) depth: u32,
    stage: u32,
    nesting: Nesting,
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
        let mut nesting = Nesting::Outermost;
        if timed {
            nesting = block.nest(depth, stage);
            outer_child_ns = block.child_ns.get();
            block.child_ns.set(0);
            start = block.ticks();
        }
        Self { block, timed, depth, stage, nesting, outer_child_ns, allocated, start }
    }

    /// The thread is out of the stage, which it must have been in.
    #[inline]
    pub(crate) fn unnest(&self) {
        self.block.unnest(self.nesting, self.stage);
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
        self.unnest();
        block.set_depth(self.depth);
        polled
    }
}

/// Takes part in a poll, and ends it also when the poll unwinds.
pub struct Polling<'a> {
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
        Self {
            stage,
            start: 0,
            busy_ns: 0,
            own_ns: 0,
            allocated: 0,
            polls: 0,
            rate: 0,
            inner: false,
            state: State::New,
        }
    }

    /// Another call of the stage, which has not begun.
    pub(crate) const fn afresh(&self) -> Self {
        Self::new(self.stage)
    }

    /// What a timed call stands for; 0 if none is timed.
    pub(super) fn weight(&self) -> u32 {
        match self.rate {
            0 => 0,
            rate => 1 << (rate - 1),
        }
    }

    /// Whether it was not polled yet.
    pub(super) fn is_new(&self) -> bool {
        self.state == State::New
    }

    /// Whether it has begun and not ended.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running | State::Panicked)
    }

    /// How to record it: a call that has begun goes on as it began, whatever was switched off since.
    #[inline]
    pub(super) fn call(&self) -> Option<Call> {
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
    pub(super) fn enter_on(&mut self, block: &'static Block, call: Call) -> OnThread {
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
            self.inner = on.nesting == Nesting::Inner;
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
    pub(crate) fn poll(&mut self) -> Option<Polling<'_>> {
        let on = self.enter()?;
        Some(Polling { call: self, on })
    }

    /// Whether it has begun and is timed.
    pub(crate) fn is_timed(&self) -> bool {
        self.start != 0
    }

    /// Records the call, which ended at `end` ticks, or now. `None` if it was recorded or never began.
    pub(crate) fn finish(
        &mut self,
        failed: bool,
        cancelled: bool,
        end: Option<u64>,
    ) -> Option<(&'static Block, u64, Option<Timing>)> {
        let took = |call: &Self, block: &Block| {
            block.to_ns(end.unwrap_or_else(|| block.ticks()).saturating_sub(call.start))
        };
        self.close(failed, end.is_none(), cancelled, took)
    }

    /// Records a call that took no longer than what was pulled from it: its time in polls, or `produced_ns`
    /// if that is more.
    pub(crate) fn finish_pulled(
        &mut self,
        failed: bool,
        cancelled: bool,
        produced_ns: u64,
    ) -> Option<(&'static Block, u64, Option<Timing>)> {
        // Making what is pulled from took one that asked for no item.
        self.polls = self.polls.saturating_sub(1);
        self.close(failed, true, cancelled, |_, _| produced_ns)
    }

    /// Records the call, which took that long and at least its time in polls. `now` says that it ends at this moment.
    fn close(
        &mut self,
        failed: bool,
        now: bool,
        cancelled: bool,
        took: impl FnOnce(&Self, &Block) -> u64,
    ) -> Option<(&'static Block, u64, Option<Timing>)> {
        if !self.is_running() {
            return None;
        }
        let panicked = self.state == State::Panicked;
        self.state = State::Done;
        let stage = self.stage.running().stage;
        let block = thread::block()?;
        let timing = (self.start != 0).then(|| {
            let ns = took(self, block).max(self.busy_ns);
            Timing { ns, own_ns: self.own_ns, weight: self.weight() }
        });
        // What an inner level waits, the outermost one waits too.
        let outermost = timing.filter(|_| !self.inner);
        let awaiting_ns =
            outermost.map_or(0, |timing| (timing.ns - self.busy_ns).wrapping_mul(u64::from(timing.weight)));
        match timing {
            Some(timing) => {
                if self.inner {
                    block.record_nested(Nesting::Inner, stage, failed, self.allocated, timing);
                } else {
                    block.record_stage(stage, failed, self.allocated, timing);
                }
                // What ended before now is no part of the tree that a trace is: it is recorded late, at any depth.
                if now && self.stage.running().spans {
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
    pub(super) call: AsyncCall,
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
        // While the stage is on the thread: what the error says is noted on it.
        let failed = matches!(&poll, Poll::Ready(output) if failed(output));
        drop(polling);
        if poll.is_ready() {
            call.finish(failed, false, None);
        }
        poll
    }
}

impl<F: Future, E: Fn(&F::Output) -> bool> Drop for StageFuture<F, E> {
    fn drop(&mut self) {
        self.call.finish(false, true, None);
    }
}
