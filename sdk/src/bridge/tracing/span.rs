//! What is kept of a span, in its extensions, from its creation to its close.

use super::site::Site;
use super::stack::On;
use crate::record::future::query::{AsyncQuery, QueryPolled};
use crate::record::future::stage::AsyncCall;
use crate::record::thread;

/// A span is one call of an async stage, or of an async query: each time that it is entered is a poll.
pub(super) enum Call {
    Stage(AsyncCall),
    Query(AsyncQuery),
}

pub(super) struct Span {
    /// The layer that keeps it.
    pub(super) layer: u64,
    pub(super) site: &'static Site,
    pub(super) call: Call,
    pub(super) failed: bool,
    /// When it was last left, in ticks.
    end: u64,
}

impl Span {
    pub(super) fn new(layer: u64, site: &'static Site, set: u32, failed: bool) -> Self {
        let call = if site.query {
            Call::Query(AsyncQuery::new(&site.stage, set))
        } else {
            Call::Stage(AsyncCall::new(&site.stage))
        };
        Self { layer, site, call, failed, end: 0 }
    }

    /// The label set of a query.
    pub(super) fn set(&self) -> Option<u32> {
        match &self.call {
            Call::Stage(_) => None,
            Call::Query(query) => Some(query.set),
        }
    }

    pub(super) fn relabel(&mut self, set: u32) {
        if let Call::Query(query) = &mut self.call {
            if query.call.is_running()
                && let Some(block) = thread::block()
            {
                block.record_live(query.set, -1);
                block.record_live(set, 1);
            }
            query.set = set;
        }
    }

    /// Puts it on the thread.
    pub(super) fn enter(&mut self) -> Option<On> {
        match &mut self.call {
            Call::Stage(call) => call.enter().map(On::Stage),
            Call::Query(query) => query.enter().map(On::Query),
        }
    }

    /// Counts the time that it was on a thread.
    pub(super) fn add(&mut self, polled: &QueryPolled) {
        self.end = self.end.max(polled.stage.end);
        match &mut self.call {
            Call::Stage(call) => call.add(&polled.stage),
            Call::Query(query) => query.add(polled),
        }
    }

    /// Records it. It ended when it was last left: spans stay open for as long as anything refers to them.
    pub(super) fn close(&mut self) {
        let (failed, end) = (self.failed, Some(self.end));
        match &mut self.call {
            Call::Stage(call) => drop(call.finish(failed, false, end)),
            Call::Query(query) => query.finish(failed, false, end),
        }
    }
}
