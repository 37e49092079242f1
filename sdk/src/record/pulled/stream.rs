//! A stream that is a stage, or a query, whenever it is polled.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::{FusedStream, Stream};

use super::{Call, Recording};
use crate::record::thread;

/// A stream in a stage, or a query. Its call takes what items take from the first poll for one until it is there; what the
/// consumer does in between is not its own. Dropped while an item is awaited it counts as cancelled.
#[must_use = "streams do nothing unless polled"]
pub struct RecordedStream<S, C: Recording, E> {
    /// Dropped before its call ends.
    inner: S,
    /// A closure without captures: it takes no room.
    failed: E,
    call: Call<C>,
}

impl<S, C: Recording, E> RecordedStream<S, C, E> {
    #[inline]
    pub(super) fn new(inner: S, failed: E, call: Call<C>) -> Self {
        Self { inner, failed, call }
    }
}

/// The call and the closure are never pinned.
impl<S: Unpin, C: Recording, E> Unpin for RecordedStream<S, C, E> {}

fn ticks() -> u64 {
    thread::present().map_or(0, |block| block.ticks())
}

impl<C: Recording> Call<C> {
    /// An item is asked for, perhaps again.
    fn asked(&mut self) {
        let is_timed = self.recording.is_timed();
        let awaited = &mut self.awaited;
        if !awaited.waiting {
            awaited.waiting = true;
            awaited.since = if is_timed { ticks() } else { 0 };
        }
    }

    /// It is there.
    fn given(&mut self) {
        let awaited = &mut self.awaited;
        awaited.waiting = false;
        if let Some(block) = thread::present().filter(|_| awaited.since != 0) {
            awaited.ns += block.to_ns(block.ticks().saturating_sub(awaited.since));
        }
    }
}

impl<S: Stream, C: Recording, E: Fn(&S::Item) -> bool> Stream for RecordedStream<S, C, E> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        // SAFETY: the stream is not moved out of the pinned wrapper, is pinned again at once and is dropped in place. The
        // rest is never pinned.
        let (inner, failed, call) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.inner), &this.failed, &mut this.call)
        };
        call.asked();
        let on = call.recording.pull();
        let poll = inner.poll_next(context);
        let failed = matches!(&poll, Poll::Ready(Some(item)) if failed(item));
        drop(on);
        if poll.is_ready() {
            call.given();
        }
        call.failed |= failed;
        poll
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl<S: FusedStream, C: Recording, E: Fn(&S::Item) -> bool> FusedStream for RecordedStream<S, C, E> {
    fn is_terminated(&self) -> bool {
        self.inner.is_terminated()
    }
}
