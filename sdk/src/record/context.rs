//! Carrying a query across threads and tasks.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::block::{Block, PATH};
use super::interner::NO_LABELS;
use super::thread;

/// Stages that a context carries. Of a deeper path the outer ones and the innermost, as in samples.
const CARRIED: usize = 24;

/// What work is done for: the query, whether that is timed and since when it runs, and the stages around the work. Take it
/// where the work is handed over and put it on where the work is done, in a pool's thread or in a task. What is recorded
/// there goes on from there:
///
/// ```
/// use stagelight::{QueryContext, query, stage};
///
/// #[query(key = sql, tenant = tenant)]
/// fn execute(sql: &str, tenant: &str) -> u64 {
///     std::thread::scope(|pool| {
///         let context = QueryContext::current();
///         let parts = [1, 2, 3].map(|part| pool.spawn(context.wrap(move || scan(part))));
///         parts.into_iter().map(|part| part.join().unwrap()).sum()
///     })
/// }
///
/// #[stage]
/// fn scan(part: u64) -> u64 {
///     # #[cfg(feature = "enabled")]
///     # assert!(stagelight::active().iter().any(|thread| thread.path == ["execute", "scan"]));
///     part * 10
/// }
///
/// assert_eq!(execute("select", "acme"), 60);
/// ```
///
/// [`wrap`](Self::wrap) makes a closure for any pool, such as `tokio::task::spawn_blocking` or `rayon::spawn`;
/// [`in_query`](InQuery::in_query) is for tasks: `tokio::spawn(work.in_query(context))`; and [`attach`](Self::attach) is for
/// workers that take jobs from a queue of yours: put the context into the job.
///
/// Samples, waits, allocations and the [active](crate::active) threads have the query's labels there and the path of stages
/// that led to the work, of at most 24, below which the stages entered there stand. [Rows](crate::rows) that are
/// reported there count for the query as the thread leaves it. What is not carried is the [trace](crate::Trace): it has the spans of the thread,
/// or the task, that the query itself runs on.
///
/// It is 72 bytes of plain numbers, to copy and to send; making one and putting it on allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryContext {
    /// When the query began, in ticks; 0 if it is not timed.
    start: u64,
    labels: u32,
    weight: u32,
    /// Stages in `path`.
    depth: u32,
    /// Their numbers, outermost first.
    path: [u16; CARRIED],
}

impl QueryContext {
    /// In no query and no stage.
    const NOTHING: Self = Self { start: 0, labels: NO_LABELS, weight: 1, depth: 0, path: [0; CARRIED] };

    /// What the calling thread is in. Costs some loads, and one for each stage.
    #[must_use]
    pub fn current() -> Self {
        let Some(block) = thread::present() else { return Self::NOTHING };
        let mut context = Self {
            start: block.query_start.get(),
            labels: block.labels(),
            weight: block.weight(),
            ..Self::NOTHING
        };
        context.depth = block.copy_path(&mut context.path) as u32;
        context
    }

    /// Puts the calling thread into the query, and its stages around what the thread enters, until the guard is dropped. A
    /// context of no stage leaves the thread in those that it is in.
    ///
    /// The guard belongs into the function that does the work: drop it before any stage ends that was entered before it.
    pub fn attach(self) -> Attached {
        let on = thread::block().map(|block| {
            let before = Before::of(block);
            self.put_on(block);
            (block, before)
        });
        Attached { context: self, on, _not_send: PhantomData }
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

    fn put_on(&self, block: &Block) {
        block.set_labels(self.labels);
        block.set_weight(self.weight);
        block.query_start.set(self.start);
        if self.depth != 0 {
            let path = &self.path[..self.depth as usize];
            block.forget_places(path);
            block.set_path(path, self.depth);
        }
    }
}

/// What a thread was in before it was attached, to be put back.
struct Before {
    start: u64,
    labels: u32,
    weight: u32,
    rows: u64,
    /// May be more than the path names.
    depth: u32,
    path: [u16; PATH],
}

impl Before {
    fn of(block: &Block) -> Self {
        let mut path = [0; PATH];
        block.copy_path(&mut path);
        Self {
            start: block.query_start.get(),
            labels: block.labels(),
            weight: block.weight(),
            rows: block.rows.get(),
            depth: block.depth(),
            path,
        }
    }

    fn put_back(&self, block: &Block, context: &QueryContext) {
        block.set_labels(self.labels);
        block.set_weight(self.weight);
        block.query_start.set(self.start);
        // If a stage ended meanwhile that was entered before, the thread is where that left it.
        let depth = if context.depth == 0 { self.depth } else { context.depth };
        if block.depth() != depth {
            return;
        }
        if context.depth != 0 {
            block.set_path(&self.path[..(self.depth as usize).min(PATH)], self.depth);
        }
        let rows = block.rows.get().wrapping_sub(self.rows);
        block.rows.set(self.rows);
        if rows != 0 && context.labels != NO_LABELS {
            block.record_rows(context.labels, rows);
        }
        if self.labels == NO_LABELS {
            block.forget_nested();
        }
    }
}

/// Holds the calling thread in a query until it is dropped.
#[must_use = "the thread leaves the query when this is dropped"]
pub struct Attached {
    context: QueryContext,
    on: Option<(&'static Block, Before)>,
    /// It belongs to the thread that was attached.
    _not_send: PhantomData<*const ()>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some((block, before)) = &self.on
            && thread::holds(block)
        {
            before.put_back(block, &self.context);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::guard::{Frame, QueryFrame, enter, enter_query};
    use crate::record::labels::Labels;
    use crate::record::stage::{Stage, stage_by_id};

    static OUTER: Stage = Stage::new("outer", "context tests", "", 0);
    static INNER: Stage = Stage::new("inner", "context tests", "", 0);
    static POOL: Stage = Stage::new("pool", "context tests", "", 0);

    /// The names of the stages that the thread is in.
    fn path() -> Vec<&'static str> {
        let mut path = [0; PATH];
        let depth = thread::present().map_or(0, |block| block.copy_path(&mut path));
        path[..depth].iter().map(|&stage| stage_by_id(stage.into()).1).collect()
    }

    /// In `n` calls of a stage, one within the other.
    fn nest<R>(stage: &'static Stage, n: usize, work: impl FnOnce() -> R) -> R {
        if n == 0 {
            return work();
        }
        let mut frame = Frame::new();
        let _guard = enter(stage, &mut frame);
        nest(stage, n - 1, work)
    }

    /// In a query of that statement.
    fn in_query<R>(statement: &str, work: impl FnOnce() -> R) -> R {
        let mut frame = QueryFrame::new();
        let _guard = enter_query(&OUTER, || Labels::new(statement, &(), &(), &()), &mut frame);
        work()
    }

    #[test]
    fn the_path_on_another_thread_starts_with_the_one_that_is_carried() {
        assert_eq!(size_of::<QueryContext>(), 72);
        let context = nest(&OUTER, 1, || nest(&INNER, 1, QueryContext::current));
        let there = context.wrap(|| (path(), nest(&POOL, 1, path), path()));
        let (before, within, after) = std::thread::spawn(there).join().unwrap();
        assert_eq!(within, ["outer", "inner", "pool"]);
        assert_eq!([before, after], [["outer", "inner"]; 2]);
    }

    #[test]
    fn a_thread_that_takes_work_over_is_back_in_its_own_stages_afterwards() {
        for depth in [0, 1, 2, 5, PATH, PATH + 3] {
            let context = in_query("taken over", || nest(&INNER, 1, QueryContext::current));
            nest(&POOL, depth, || {
                let before = (path(), QueryContext::current());
                context.run(|| {
                    assert_eq!(QueryContext::current(), context);
                    assert_eq!(nest(&POOL, 7, path).len(), 9);
                });
                assert_eq!((path(), QueryContext::current()), before);
                let block = thread::present().unwrap();
                assert_eq!(block.depth() as usize, depth);
            });
        }
        assert!(path().is_empty());
    }

    #[test]
    fn of_a_deep_path_the_outer_stages_and_the_innermost_are_carried() {
        let context = nest(&OUTER, 30, || nest(&INNER, 1, QueryContext::current));
        let carried = std::thread::spawn(context.wrap(path)).join().unwrap();
        assert_eq!(carried.len(), CARRIED);
        assert!(carried[..CARRIED - 1].iter().all(|name| *name == "outer"));
        assert_eq!(carried[CARRIED - 1], "inner");
    }

    #[test]
    fn a_context_of_nothing_leaves_the_stages_and_takes_the_query_off() {
        in_query("left", || {
            QueryContext::NOTHING.run(|| {
                assert_eq!(path(), ["outer"]);
                assert_eq!(thread::current().1, NO_LABELS);
            });
            assert_ne!(thread::current().1, NO_LABELS);
        });
    }

    #[test]
    fn a_guard_that_outlives_the_stage_that_it_was_made_in_leaves_the_thread_in_none() {
        let carried = in_query("outlived", QueryContext::current);
        let attached = nest(&POOL, 2, || carried.attach());
        drop(attached);
        assert!(path().is_empty());
    }

    #[test]
    fn rows_and_nested_queries_of_a_pool_do_not_go_to_the_threads_next_query() {
        use crate::record::block::LabelFigures;

        let context = in_query("pool rows", QueryContext::current);
        let labels = |statement: &str| Labels::new(statement, &(), &(), &()).number() as usize;
        let work = move || {
            context.run(|| {
                crate::rows(5);
                in_query("pool nested", || drop(std::hint::black_box(vec![0_u8; 64])));
            });
            in_query("pool next", || crate::rows(2));
            let block = thread::present().unwrap();
            let nested = [&block.nested_ns, &block.nested_allocated, &block.nested_entered];
            assert_eq!(nested.map(|cell| cell.get()), [0; 3]);
            let sets = ["pool rows", "pool next"].map(labels);
            let mut sums = vec![LabelFigures::default(); sets[1].max(sets[0]) + 1];
            block.read_labels(&mut sums);
            sets.map(|set| sums[set].rows)
        };
        assert_eq!(std::thread::spawn(work).join().unwrap(), [5, 2]);
    }
}
