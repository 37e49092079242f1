//! The spans that a thread has entered, and what each has changed on it.
//!
//! Spans may be left in any order, but a thread's path is a stack. A span that is left below others is cut out exactly: those
//! above are taken off, topmost first, and put on again, which counts neither a poll nor a call. A stage of an attribute or
//! a macro can't be taken off, so a span that is left below one stays on the thread until that stage has ended and any span
//! is entered or left.

use std::cell::RefCell;

use crate::record::future::query::{QueryOnThread, QueryPolled};
use crate::record::future::stage::{OnThread, Polled};
use crate::record::thread;

/// A span of one layer.
pub(super) type Key = (u64, u64);

/// What a span has put on the thread.
pub(super) enum On {
    Stage(OnThread),
    Query(QueryOnThread),
}

struct Frame {
    key: Key,
    /// `None` if the thread was in the span already.
    place: Option<Place>,
}

struct Place {
    on: On,
    /// What the path ends in while the span is the innermost.
    stage: u32,
    /// Of a query.
    set: u32,
    /// What was gathered until the span was last taken off.
    sums: QueryPolled,
    /// The time that the span took, once it was left below a stage.
    left: Option<u64>,
}

/// All of one thread, of all layers.
#[derive(Default)]
pub(super) struct Stack(Vec<Frame>);

thread_local! {
    static STACK: RefCell<Stack> = const { RefCell::new(Stack(Vec::new())) };
}

/// Calls `with` with the thread's stack; `None` if its locals are being destroyed.
pub(super) fn with<R>(with: impl FnOnce(&mut Stack) -> Option<R>) -> Option<R> {
    STACK.try_with(|stack| with(&mut *stack.try_borrow_mut().ok()?)).ok()?
}

impl On {
    fn stage(&self) -> &OnThread {
        match self {
            On::Stage(stage) => stage,
            On::Query(query) => &query.stage,
        }
    }
}

impl Place {
    /// Whether the path ends in it.
    fn is_innermost(&self) -> bool {
        let on = self.on.stage();
        thread::holds(on.block) && on.block.depth() == on.depth + 1 && on.block.current().0 == self.stage
    }

    /// Whether a stage around it has ended and taken it off the path.
    fn is_off(&self) -> bool {
        let on = self.on.stage();
        !thread::holds(on.block) || on.block.depth() <= on.depth
    }

    /// Takes it off the thread.
    fn take_off(&mut self) {
        let polled = match &self.on {
            On::Stage(stage) => QueryPolled { stage: stage.leave(), ..QueryPolled::default() },
            On::Query(query) => query.leave(),
        };
        let sums = &mut self.sums;
        sums.stage = Polled {
            busy_ns: sums.stage.busy_ns + polled.stage.busy_ns,
            own_ns: sums.stage.own_ns + polled.stage.own_ns,
            allocated: sums.stage.allocated.wrapping_add(polled.stage.allocated),
            end: polled.stage.end,
        };
        for (sum, part) in sums.nested.iter_mut().zip(polled.nested) {
            *sum += part;
        }
        sums.stages += polled.stages;
        sums.rows += polled.rows;
    }

    /// Puts it on the thread again, with the weight and the start of query that it had.
    fn put_on(&mut self, (weight, start): (u32, u64)) {
        let (block, timed) = (self.on.stage().block, self.on.stage().timed);
        let enter = || OnThread::new(block, self.stage, timed);
        self.on = match self.on {
            On::Stage(_) => On::Stage(enter()),
            On::Query(_) => On::Query(QueryOnThread::new(block, self.set, weight, || (enter(), start))),
        };
    }

    /// Gives back what a span that is not on the path any more has put on the thread beside it.
    fn give_rest_back(&self) {
        if thread::holds(self.on.stage().block) {
            self.on.stage().unnest();
        }
        if let On::Query(query) = &self.on
            && thread::holds(query.stage.block)
            && query.stage.block.labels() == self.set
        {
            query.leave_query();
        }
    }

    /// The time since it was put on, in nanoseconds, and the time now, in ticks.
    fn elapsed(&self) -> (u64, u64) {
        let on = self.on.stage();
        if !on.timed {
            return (0, 0);
        }
        let now = on.block.ticks();
        (on.block.to_ns(now.saturating_sub(on.start)), now)
    }
}

impl Stack {
    /// Whether the span is to be put on the thread. If the thread is in it already, that is noted, and no more.
    pub(super) fn enters(&mut self, key: Key) -> bool {
        self.settle();
        let again = self.0.iter().any(|frame| frame.key == key && !frame.was_left());
        if again {
            self.0.push(Frame { key, place: None });
        }
        !again
    }

    /// Notes what the span has put on the thread.
    pub(super) fn push(&mut self, key: Key, on: On, set: u32) {
        let stage = on.stage().block.current().0;
        let place = Place { on, stage, set, sums: QueryPolled::default(), left: None };
        self.0.push(Frame { key, place: Some(place) });
    }

    /// Takes the span off the thread. `None` if it was not on it, or was entered more than once and is still on it.
    pub(super) fn exit(&mut self, key: Key) -> Option<QueryPolled> {
        self.settle();
        let at = self.0.iter().rposition(|frame| frame.key == key && !frame.was_left())?;
        if self.0[at].place.is_none() {
            self.0.remove(at);
            return None;
        }
        if self.reaches_down_to(at) {
            return self.cut_out(at);
        }
        let place = self.0[at].place.as_mut()?;
        let mut sums = place.sums;
        let (ns, end) = place.elapsed();
        // How much of it was its children's can't be told.
        sums.stage.busy_ns += ns;
        sums.stage.end = end;
        if place.is_off() {
            place.give_rest_back();
            self.0.remove(at);
        } else {
            place.left = Some(ns);
        }
        Some(sums)
    }

    /// Changes the labels of a query that the thread is in.
    pub(super) fn relabel(&mut self, key: Key, set: u32) {
        let mut places = self.0.iter_mut().filter(|frame| !frame.was_left());
        let Some(place) = places.find(|frame| frame.key == key).and_then(|frame| frame.place.as_mut()) else {
            return;
        };
        let old = std::mem::replace(&mut place.set, set);
        let block = place.on.stage().block;
        let inner = places.find_map(|frame| match &mut frame.place.as_mut()?.on {
            On::Query(query) => Some(query),
            On::Stage(_) => None,
        });
        match inner {
            Some(inner) if inner.outer_labels == old => inner.outer_labels = set,
            None if thread::holds(block) && block.labels() == old => block.set_labels(set),
            _ => {}
        }
    }

    /// Whether nothing but spans that are on the thread lies above.
    fn reaches_down_to(&self, at: usize) -> bool {
        let mut above: Option<&Place> = None;
        for place in self.0[at..].iter().rev().filter_map(|frame| frame.place.as_ref()) {
            let adjacent = match above {
                None => place.is_innermost(),
                Some(above) => above.on.stage().depth == place.on.stage().depth + 1,
            };
            if !adjacent || place.left.is_some() {
                return false;
            }
            above = Some(place);
        }
        true
    }

    fn cut_out(&mut self, at: usize) -> Option<QueryPolled> {
        let mut queries = Vec::new();
        for place in self.0[at + 1..].iter_mut().rev().filter_map(|frame| frame.place.as_mut()) {
            let block = place.on.stage().block;
            queries.push((block.weight(), block.query_start.get()));
            place.take_off();
        }
        let mut place = self.0.remove(at).place?;
        place.take_off();
        let mut above = self.0[at..].iter().filter_map(|frame| frame.place.as_ref());
        if let Some(inner) = above.find(|place| matches!(place.on, On::Query(_))) {
            // What it has done so far lies in this one's figures and will be in its own.
            let QueryPolled { stage, stages, .. } = inner.sums;
            for (sum, part) in place.sums.nested.iter_mut().zip([stage.busy_ns, stage.allocated, stages]) {
                *sum += part;
            }
        }
        let above = self.0[at..].iter_mut().filter_map(|frame| frame.place.as_mut());
        for (place, query) in above.zip(queries.into_iter().rev()) {
            place.put_on(query);
        }
        Some(place.sums)
    }

    /// Takes off what was left below stages that have ended since.
    fn settle(&mut self) {
        while let Some(place) = self.0.last().and_then(|frame| frame.place.as_ref())
            && let Some(ns) = place.left
            && (place.is_innermost() || place.is_off())
        {
            place.give_rest_back();
            if place.is_innermost() {
                let on = place.on.stage();
                if on.timed {
                    on.block.child_ns.set(on.outer_child_ns.wrapping_add(ns));
                }
                on.block.set_depth(on.depth);
            }
            self.0.pop();
        }
    }
}

impl Frame {
    fn was_left(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.left.is_some())
    }
}
