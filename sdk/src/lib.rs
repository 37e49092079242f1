//! Counts, latencies, self time and allocated bytes of the stages that your database's queries go through, for the
//! price of a pair of clock reads.
//!
//! # Concepts
//! A **stage** is a region of code that has a name: admission, prepare, the pricing of an order. Each call of it is
//! counted and timed, apart from the stages below it. A **query** is the stage at the root of one statement's execution;
//! it carries **labels** (statement, tenant, user, database) that hold for all that runs below it, and that the samples
//! of [`stagelight-profiler`](https://docs.rs/stagelight-profiler) carry too. A **snapshot** is the merged state of all
//! threads.
//!
//! ```
//! use stagelight::{query, stage};
//!
//! #[query(key = statement, tenant = tenant)]
//! fn execute(statement: &str, tenant: &str) -> Result<u64, String> {
//!     let plan = prepare(statement)?;
//!     let rows = stagelight::stage_block!("step", { plan * 2 });
//!     Ok(rows)
//! }
//!
//! #[stage(component = "planner")]
//! fn prepare(statement: &str) -> Result<u64, String> {
//!     statement.len().try_into().map_err(|_| "too long".into())
//! }
//!
//! execute("select 1", "acme")?;
//!
//! let snapshot = stagelight::snapshot();
//! # #[cfg(feature = "enabled")]
//! # {
//! let prepare = snapshot.stage("prepare").expect("it was called");
//! assert_eq!((prepare.calls, prepare.errors), (1, 0));
//! assert!(prepare.histogram.quantile(0.99) <= prepare.histogram.max());
//! assert_eq!(snapshot.tenants[0].value, "acme");
//! # }
//! # Ok::<(), String>(())
//! ```
//!
//! What a stage can't say is a **metric** of your own: a [`Counter`], [`UpDownCounter`], [`Gauge`], [`Distribution`] or
//! [`Summary`], in a `static`, or a family of them by labels. See [`metric`].
//!
//! # In libraries
//! Depend on `stagelight` without features and annotate freely. The feature `enabled` is off: your functions compile to
//! the same machine code as without attributes, and your users pay nothing.
//!
//! **Your function, unchanged**: with the feature on, too, an attribute adds recording and nothing else. What it
//! guarantees, and its limits, are said at [`macro@stage`].
//!
//! Other crates may know this one by another name: a rename in Cargo.toml is found by the attributes, and a crate
//! that reaches it through yours alone says so: `#[stage(crate = my_db::stagelight)]`.
//!
//! # In programs
//! Turn `enabled` on, and read what is recorded: by [`snapshot`], by a [`collector`] that hands each second's window to
//! [exporters](export::Exporter), as [Prometheus text](export) (feature `prometheus`), [JSON](export) (feature `json`) or
//! a [table](export::table::stages). `stagelight-profiler` adds CPU and heap profiles and an HTTP API. [`set_recording`]
//! switches recording off and on while the program runs.
//!
//! # What there is beside
//! - **Async.** The attributes go on `async fn` and on functions that return an `impl Future` or a boxed one. A stage is on the
//!   thread while it is polled; busy time, awaiting time, polls and cancellations are figures of their own. [`QueryContext`]
//!   carries a query, and the stages around the work, to other tasks and threads.
//! - **Iterators.** On functions that return an `impl Iterator` or a boxed one, or by the feature `stream` a `Stream`, a stage is
//!   on the thread while items are pulled, and all of them are one call.
//! - **Sampling.** Every call is counted; whether a query's stages are timed is decided at its root. A [`collector`] runs a
//!   [`governor`](fn@governor) that keeps recording under 3 % of the process's CPU time, and [`set_mode`] switches stages by
//!   pattern: span, time, count, off. Figures of sampled calls are unbiased and say how many [timed](StageStats::timed) calls they rest on.
//! - **Traces.** With a collector, one timed query in ten and all that fail or are slow for their
//!   statement leave a [`Trace`], with what [`record`] and [`event!`] noted; [`find_traces`] finds
//!   them by label, length and failure, and [`TraceContext`] takes `traceparent` in and out.
//! - **Activity.** [`active`](fn@active) tells what every thread is in at this instant and does,
//!   [`active_averages`] what was active over the last minutes, threads outside of stages too:
//!   running, runnable, or waiting for a lock, I/O, a condition or time.
//! - **Queries since a reset**, most of any [`Column`] first: [`Snapshot::queries`], [`reset_queries`]. What exporters see is not reset.
//! - **Bridges** to what is instrumented already: spans of [`tracing`](mod@bridge) as stages and stages as spans, trace ids in
//!   what is logged, the `metrics` facade.
//! - **Locks** that tell who waits for whom, in the place of `std`'s and `parking_lot`'s: [`sync`], [`lock`].
//! - **Labels interned once**, per prepared statement or connection: [`Labels`]. **Rows** of a query: [`rows`].
//! - **Metrics of your own**: [`Counter`], [`Gauge`], [`Distribution`] and [so on](mod@metric).
//!
//! # What it costs
//! Each thread writes to a block of its own with plain loads and stores; nothing locks, allocates or calls the system
//! once a thread has touched a stage. A stage costs what its two clock reads cost, all else disappears behind them; a query
//! some nanoseconds more for its labels, a stage that is off a load and a branch. A thread's block takes about 6 KiB and 600
//! bytes for each stage that it enters; blocks of threads that ended are used again. BENCHMARKS.md has the figures and what they were
//! measured on.
//!
//! # Your responsibilities
//! - Put stages on what takes microseconds or more, or is called by the thousand, not by the million: ten nanoseconds of
//!   work is not worth twenty of measuring.
//! - Use statement *keys*: text with its constants taken out, a name or a digest. Up to 1,022
//!   values of each label are told apart, and some 3,000 ways in which the labels are combined;
//!   what is beyond counts as `other`, so that totals stay exact. Where there are too many
//!   combinations, a query gives up one label and keeps the others: with 60,000 users the user
//!   alone, never the tenant for it. [`Snapshot::label_fallbacks`] says which labels fell back, and
//!   so do the API's status and each profile. A value that is heavy gets its own entry whenever it
//!   comes: what is looked at next gives it that of one which does next to nothing, whose figures
//!   move to `other`. So counters never fall but for a value that went and came again.
//! - A label that is secret is secret no more: it shows in metrics and profiles.
//!
//! # What it is not for
//! It is no tracer of everything: single calls are remembered of the queries that are kept, no others. And it measures one
//! process, not a cluster.

pub mod bridge;
mod collect;
mod copy_note;
pub mod export;
pub mod lock;
pub mod metric;
#[cfg(feature = "parking_lot")]
pub mod parking_lot;
mod record;
pub mod sync;
#[cfg(test)]
mod testing;

pub use collect::active::{Active, active};
pub use collect::collector::{Collector, CollectorBuilder, collector};
pub use collect::governor::{GovernorStats, governor};
pub use collect::histogram::Histogram;
pub use collect::history::{ActiveAverage, ActiveHistory, active_averages};
pub use collect::label_fallback::{LabelFallback, label_fallbacks};
pub use collect::overhead::{Overhead, Prices};
pub use collect::punctuality::{CollectorStats, collector_stats};
pub use collect::queries::{Column, Queries, reset_queries};
pub use collect::snapshot::{LabelStats, RecorderStats, Snapshot, StageStats, snapshot};
pub use collect::thread_state::ThreadState;
pub use collect::trace::{Event, Kept, Span, Trace};
pub use collect::trace_filter::TraceFilter;
pub use collect::traces::{TraceSettings, find_traces, recent_traces};
pub use collect::window::Window;
pub use metric::{
    Counter, CounterFamily, Distribution, DistributionFamily, Gauge, GaugeFamily, Summary, SummaryFamily,
    Unit, UpDownCounter, UpDownCounterFamily,
};
pub use record::context::{Attached, InQuery, QueryContext, WithQuery};
pub use record::guard::rows;
pub use record::label_value::LabelValue;
pub use record::labels::{LabelKind, LabelSet, Labels};
pub use record::spans::{Value, record};
pub use record::stage::{Mode, matches_stage, set_mode, set_recording};
pub use record::trace_context::{InvalidTraceparent, TraceContext};
pub use stagelight_macros::{query, stage, stage_all};

/// Times a block as a stage and gives its value: `stage_block!("scan", { … })`.
///
/// The name is a string literal or a constant `&str`, `concat!("scan.", "index")` too; the component is the
/// module. A `return` or `?` in the block leaves the function, as in any block, and ends the stage. Where the
/// feature `enabled` is off the block alone remains.
///
/// `stage_block!(crate = my_db::stagelight, "scan", { … })` says where the crate is reached, which the macro
/// finds by itself unless a macro of another name hands the call on.
#[macro_export]
macro_rules! stage_block {
    ($($arguments:tt)*) => {
        $crate::__private::stage_block! { [$crate] $($arguments)* }
    };
}

/// Notes an event on the stage that the calling thread is in: `event!("cache miss")`, or with attributes,
/// `event!("retry", attempt = 3, reason = "busy")`.
///
/// It shows in the query's trace, if the query is followed and kept; else it costs two loads. Values are anything that makes a
/// [`Value`].
#[cfg(feature = "enabled")]
#[macro_export]
macro_rules! event {
    ($name:literal $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::__private::event($name, &[$((::core::stringify!($key), $crate::Value::from($value))),*])
    };
}

/// Notes an event on the stage that the calling thread is in. Here the feature `enabled` is off: what the
/// values are made of counts as used, and nothing remains.
#[cfg(not(feature = "enabled"))]
#[macro_export]
macro_rules! event {
    ($name:literal $(, $key:ident = $value:expr)* $(,)?) => {
        if false {
            $(let _ = $crate::Value::from($value);)*
            $crate::__private::never_reached()
        }
    };
}

/// For the macros' output and for `stagelight-profiler`. No part of the public interface.
#[doc(hidden)]
pub mod __private {
    /// The note by which copies of this crate are found.
    pub mod copy_note {
        pub use crate::copy_note::{KIND, NAME, Note, own};
    }
    pub use crate::collect::own_threads::{count_own_thread, own_threads_cpu};
    pub use crate::lock::private as lock;
    pub use crate::record::expansion::{capture, never_reached, not_empty, once};
    pub use crate::record::future::{QueryFuture, StageFuture, query_future, stage_future};
    pub use crate::record::guard::{Frame, QueryFrame, QueryGuard, StageGuard, enter, enter_query};
    pub use crate::record::labels::{ConstLabels, label_set, labels_of};
    pub use crate::record::outcome::{Exit, MayFail, NeverFails, Outcome, noted};
    #[cfg(feature = "stream")]
    pub use crate::record::pulled::RecordedStream;
    pub use crate::record::pulled::{Making, RecordedIterator, Recording, make_in_query, make_in_stage};
    pub use crate::record::registry::{activities, set_allocation_counter, set_thread_observer};
    pub use crate::record::spans::event;
    pub use crate::record::stage::{MAX_STAGES, Stage, stage_by_id, stage_code};
    pub use crate::record::thread::{Sampled, current, sampled, stack};
    pub use stagelight_macros::stage_block;
}
