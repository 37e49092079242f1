//! Carrying a query across threads and tasks.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::block::Block;
use super::interner::NO_LABELS;
use super::thread;

/// The query that work is done for: its labels, and whether it is timed. Take it where the work is handed over and put it
/// on where the work is done:
///
/// ```
/// use stagelight::{InQuery, QueryContext};
///
/// # #[stagelight::query(key = "fan out", tenant = "acme")]
/// # fn example() {
/// let query = QueryContext::current();
/// // A plain thread, and likewise tokio's `spawn_blocking` or rayon's `spawn`:
/// let thread = std::thread::spawn(query.wrap(|| { /* stages here belong to the query */ }));
/// // A task: tokio::spawn(work.in_query(query))
/// let _task = async { /* and here */ }.in_query(query);
/// # thread.join().unwrap();
/// # }
/// # example();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryContext {
    labels: u32,
    weight: u32,
}

impl QueryContext {
    /// The query that the calling thread is in; one without labels if it is in none. Costs two loads.
    #[must_use]
    pub fn current() -> Self {
        thread::present().map_or(Self { labels: NO_LABELS, weight: 1 }, |block| Self {
            labels: block.labels(),
            weight: block.weight(),
        })
    }

    /// Puts the calling thread into the query until the guard is dropped.
    pub fn attach(self) -> Attached {
        let restore = thread::block().map(|block| {
            let before = Self { labels: block.labels(), weight: block.weight() };
            self.put_on(block);
            (block, before)
        });
        Attached { restore, _not_send: PhantomData }
    }

    /// Calls a function in the query.
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        let _attached = self.attach();
        work()
    }

    /// A function that does its work in the query, on whatever thread calls it.
    pub fn wrap<R>(self, work: impl FnOnce() -> R) -> impl FnOnce() -> R {
        move || self.run(work)
    }

    fn put_on(self, block: &Block) {
        block.set_labels(self.labels);
        block.set_weight(self.weight);
    }
}

/// Holds the calling thread in a query until it is dropped.
#[must_use = "the thread leaves the query when this is dropped"]
pub struct Attached {
    restore: Option<(&'static Block, QueryContext)>,
    /// It belongs to the thread that was attached.
    _not_send: PhantomData<*const ()>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some((block, before)) = self.restore
            && thread::holds(block)
        {
            before.put_on(block);
        }
    }
}

/// Futures that work for a query.
pub trait InQuery: Future + Sized {
    /// A future that is in the query whenever it is polled, on whatever thread.
    fn in_query(self, query: QueryContext) -> WithQuery<Self> {
        WithQuery { future: self, query }
    }
}

impl<F: Future> InQuery for F {}

/// A future in a query, made by [`InQuery::in_query`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct WithQuery<F> {
    future: F,
    query: QueryContext,
}

impl<F: Future> Future for WithQuery<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future is not moved out of the pinned wrapper, and is pinned again at once.
        let (future, query) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), this.query)
        };
        let _attached = query.attach();
        future.poll(context)
    }
}
