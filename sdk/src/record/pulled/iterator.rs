//! An iterator that is a stage, or a query, whenever an item is pulled.

use std::fmt;
use std::iter::FusedIterator;

use super::{Awaited, Call, Recording};

/// An iterator in a stage, or a query. It is what the inner one is: double-ended, of a known length, fused, `Clone` and
/// `Debug`; a clone is a call of its own.
///
/// What the consumer does to items must not count for the stage. Hence `fold`, and what rests on it, pulls item by item; what
/// takes no function of the consumer's (`nth`, `count`, `last`) is the inner iterator's own.
#[must_use = "iterators are lazy and do nothing unless consumed"]
pub struct RecordedIterator<I, C: Recording, E> {
    /// Dropped before its call ends.
    inner: I,
    /// A closure without captures: it takes no room.
    failed: E,
    call: Call<C>,
}

impl<I, C: Recording, E> RecordedIterator<I, C, E> {
    #[inline]
    pub(super) fn new(inner: I, failed: E, call: Call<C>) -> Self {
        Self { inner, failed, call }
    }
}

impl<I: Iterator, C: Recording, E: Fn(&I::Item) -> bool> RecordedIterator<I, C, E> {
    /// Pulls an item.
    #[inline]
    fn pull(&mut self, next: impl FnOnce(&mut I) -> Option<I::Item>) -> Option<I::Item> {
        let on = self.call.recording.pull();
        let item = next(&mut self.inner);
        // While the stage is on the thread: what the error says is noted on it.
        let failed = item.as_ref().is_some_and(&self.failed);
        drop(on);
        self.call.failed |= failed;
        item
    }

    /// Pulls all that is left.
    #[inline]
    fn consume<R>(self, all: impl FnOnce(I) -> R) -> R {
        let Self { inner, mut call, .. } = self;
        let on = call.recording.pull();
        let result = all(inner);
        drop(on);
        result
    }
}

impl<I: Iterator, C: Recording, E: Fn(&I::Item) -> bool> Iterator for RecordedIterator<I, C, E> {
    type Item = I::Item;

    #[inline]
    fn next(&mut self) -> Option<I::Item> {
        self.pull(Iterator::next)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }

    #[inline]
    fn nth(&mut self, n: usize) -> Option<I::Item> {
        self.pull(|inner| inner.nth(n))
    }

    #[inline]
    fn count(self) -> usize {
        self.consume(Iterator::count)
    }

    #[inline]
    fn last(mut self) -> Option<I::Item> {
        let on = self.call.recording.pull();
        let last = self.inner.last();
        let failed = last.as_ref().is_some_and(self.failed);
        drop(on);
        self.call.failed |= failed;
        last
    }
}

impl<I: DoubleEndedIterator, C: Recording, E: Fn(&I::Item) -> bool> DoubleEndedIterator
    for RecordedIterator<I, C, E>
{
    #[inline]
    fn next_back(&mut self) -> Option<I::Item> {
        self.pull(DoubleEndedIterator::next_back)
    }

    #[inline]
    fn nth_back(&mut self, n: usize) -> Option<I::Item> {
        self.pull(|inner| inner.nth_back(n))
    }
}

impl<I: ExactSizeIterator, C: Recording, E: Fn(&I::Item) -> bool> ExactSizeIterator
    for RecordedIterator<I, C, E>
{
    #[inline]
    fn len(&self) -> usize {
        self.inner.len()
    }
}

impl<I: FusedIterator, C: Recording, E: Fn(&I::Item) -> bool> FusedIterator for RecordedIterator<I, C, E> {}

impl<I: Clone, C: Recording, E: Clone> Clone for RecordedIterator<I, C, E> {
    fn clone(&self) -> Self {
        let recording = self.call.recording.another();
        let call = Call { recording, failed: false, awaited: Awaited::default() };
        Self { inner: self.inner.clone(), failed: self.failed.clone(), call }
    }
}

impl<I: fmt::Debug, C: Recording, E> fmt::Debug for RecordedIterator<I, C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
