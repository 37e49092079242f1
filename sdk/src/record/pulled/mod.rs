//! Stages whose work is done as others pull items out of them: iterators and, by a feature, streams.
//!
//! The stage is on the thread while the iterator is made and during each `next`, and off it while the consumer has an item.
//! All of it is one call, which is recorded when the iterator is dropped, and whose time is what making it and all of `next`
//! took. The machinery is that of futures: a `next` is a poll.

mod iterator;
#[cfg(feature = "stream")]
mod stream;

pub use iterator::RecordedIterator;
#[cfg(feature = "stream")]
pub use stream::RecordedStream;

use crate::record::future::query::{AsyncQuery, PollingQuery};
use crate::record::future::stage::{AsyncCall, Polling};
use crate::record::labels::Labels;
use crate::record::stage::Stage;

/// What is recorded of one call: a stage's, or a query's.
pub trait Recording {
    /// The stage is on the thread until this is dropped.
    type On<'a>
    where
        Self: 'a;

    /// Puts the stage on the thread.
    fn pull(&mut self) -> Option<Self::On<'_>>;

    /// Whether it has begun and is timed.
    fn is_timed(&self) -> bool;

    /// Records the call.
    fn end(&mut self, failed: bool, cancelled: bool, produced_ns: u64);

    /// One that has not begun, of the same stage and labels.
    fn another(&self) -> Self;
}

impl Recording for AsyncCall {
    type On<'a> = Polling<'a>;

    #[inline]
    fn pull(&mut self) -> Option<Polling<'_>> {
        self.poll()
    }

    fn is_timed(&self) -> bool {
        AsyncCall::is_timed(self)
    }

    fn end(&mut self, failed: bool, cancelled: bool, produced_ns: u64) {
        self.finish_pulled(failed, cancelled, produced_ns);
    }

    fn another(&self) -> Self {
        self.afresh()
    }
}

impl Recording for AsyncQuery {
    type On<'a> = PollingQuery<'a>;

    #[inline]
    fn pull(&mut self) -> Option<PollingQuery<'_>> {
        self.poll()
    }

    fn is_timed(&self) -> bool {
        self.call.is_timed()
    }

    fn end(&mut self, failed: bool, cancelled: bool, produced_ns: u64) {
        self.finish_pulled(failed, cancelled, produced_ns);
    }

    fn another(&self) -> Self {
        self.afresh()
    }
}

/// A call whose iterator is being made.
#[must_use = "the call ends when this is dropped"]
pub struct Making<C: Recording>(Call<C>);

/// A call, which is recorded when this is dropped.
struct Call<C: Recording> {
    recording: C,
    failed: bool,
    /// Of streams.
    awaited: Awaited,
}

/// How a stream comes by its items. Those of an iterator are never awaited.
#[derive(Clone, Copy, Default)]
struct Awaited {
    /// Since when an item is awaited, in ticks; 0 while none is, or none is timed.
    #[cfg_attr(not(feature = "stream"), allow(dead_code, reason = "nothing is awaited"))]
    since: u64,
    /// Whether one is.
    waiting: bool,
    /// What all took so far.
    ns: u64,
}

impl<C: Recording> Drop for Call<C> {
    fn drop(&mut self) {
        let Awaited { waiting, ns, .. } = self.awaited;
        self.recording.end(self.failed, waiting, ns);
    }
}

/// Begins a call of a stage that gives an iterator or a stream.
#[inline]
pub fn make_in_stage(stage: &'static Stage) -> Making<AsyncCall> {
    Making(Call { recording: AsyncCall::new(stage), failed: false, awaited: Awaited::default() })
}

/// Begins a query that gives an iterator or a stream.
#[inline]
pub fn make_in_query(stage: &'static Stage, labels: Labels) -> Making<AsyncQuery> {
    Making(Call {
        recording: AsyncQuery::new(stage, labels.number()),
        failed: false,
        awaited: Awaited::default(),
    })
}

impl<C: Recording> Making<C> {
    /// Puts the stage on the thread while the iterator is made.
    #[inline]
    pub fn begin(&mut self) -> Option<C::On<'_>> {
        self.0.recording.pull()
    }

    /// There is none: making it failed.
    #[inline]
    pub fn fail(&mut self) {
        self.0.failed = true;
    }

    /// The iterator was made. `failed` tells whether an item counts as an error.
    #[inline]
    pub fn iterator<I, E>(self, iterator: I, failed: E) -> RecordedIterator<I, C, E>
    where
        I: Iterator,
        E: Fn(&I::Item) -> bool,
    {
        RecordedIterator::new(iterator, failed, self.0)
    }

    /// The stream was made. `failed` tells whether an item counts as an error.
    #[cfg(feature = "stream")]
    #[inline]
    pub fn stream<S, E>(self, stream: S, failed: E) -> RecordedStream<S, C, E>
    where
        S: futures_core::Stream,
        E: Fn(&S::Item) -> bool,
    {
        RecordedStream::new(stream, failed, self.0)
    }
}
