//! Queries for people: since the last reset, most of something first.
//!
//! What exporters see must only grow, so nothing is ever set back: a reset keeps the figures of that instant, and what
//! people see is the difference. Whose figures moved to `other` since then is left out of `other` again.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::SystemTime;

use super::snapshot::{LabelStats, Snapshot, snapshot};
use super::window;
use crate::record::fork::{self, AtFork};
use crate::record::labels::{KINDS, LabelKind};

/// The queries of a snapshot since the last [`reset_queries`].
#[derive(Clone, Debug)]
pub struct Queries {
    /// When they were reset last; `None` if they never were since the process started.
    pub since: Option<SystemTime>,
    /// When the snapshot was taken.
    pub taken_at: SystemTime,
    labels: [Vec<LabelStats>; KINDS],
}

/// What a reset keeps.
struct Baseline {
    at: SystemTime,
    labels: [Vec<LabelStats>; KINDS],
}

static BASELINE: Mutex<Option<Arc<Baseline>>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Arc<Baseline>>> {
    static FORK: Once = Once::new();
    FORK.call_once(|| {
        fork::heed(AtFork { hold: || vec![Box::new(lock()) as Box<dyn Any>], in_child: || {} })
    });
    BASELINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on [`Snapshot::queries`], the tables and the JSON of queries begin at nothing; gives the time from which they
/// do. Snapshots, windows and what exporters see go on as they were.
///
/// Costs what a [`snapshot`] does, and a copy of the queries' figures, which is kept until the next reset: at most 3 KiB for
/// each value of a label.
pub fn reset_queries() -> SystemTime {
    let Snapshot { taken_at, statements, tenants, users, databases, .. } = snapshot();
    let baseline = Baseline { at: taken_at, labels: [statements, tenants, users, databases] };
    // What it replaces is let go of without the lock.
    let former = lock().replace(Arc::new(baseline));
    drop(former);
    taken_at
}

impl Snapshot {
    /// The queries since the last [`reset_queries`], all of them if there was none. Costs a copy of their figures.
    #[must_use]
    pub fn queries(&self) -> Queries {
        let baseline = lock().clone();
        let labels = LabelKind::ALL.map(|kind| match &baseline {
            None => self.by_label(kind).to_vec(),
            Some(baseline) => {
                let mut labels = window::labels(&baseline.labels[kind as usize], self.by_label(kind));
                // The running maximum is that of all time; the histogram's difference knows the cell.
                labels.iter_mut().for_each(|label| label.max_ns = label.histogram.max());
                labels
            }
        });
        Queries { since: baseline.map(|baseline| baseline.at), taken_at: self.taken_at, labels }
    }
}

impl Queries {
    /// Queries by a kind of label: the values that finished one since the reset, by name. After a reset `max_ns` is the
    /// upper end of the histogram's highest cell.
    #[must_use]
    pub fn by_label(&self, kind: LabelKind) -> &[LabelStats] {
        &self.labels[kind as usize]
    }

    /// The `n` values of a kind of label that have most of a column, most first, and by name where they have the same:
    /// `snapshot.queries().top(LabelKind::Statement, Column::TOTAL_NS, 20)`.
    #[must_use]
    pub fn top(&self, kind: LabelKind, by: Column, n: usize) -> Vec<&LabelStats> {
        let mut all: Vec<&LabelStats> = self.by_label(kind).iter().collect();
        all.sort_by_cached_key(|stats| std::cmp::Reverse(by.of(stats)));
        all.truncate(n);
        all
    }
}

/// A figure of queries that they can be ordered by. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    name: &'static str,
    of: fn(&LabelStats) -> u64,
}

macro_rules! columns {
    ($($(#[$doc:meta])* $id:ident $name:literal $of:expr;)*) => {
        impl Column {
            $($(#[$doc])* pub const $id: Column = Column { name: $name, of: $of };)*

            /// All columns.
            pub const ALL: &[Column] = &[$(Column::$id),*];
        }
    };
}

columns! {
    /// Finished queries.
    CALLS "calls" |stats| stats.calls;
    /// Those that were timed.
    TIMED "timed" |stats| stats.timed;
    /// Those that returned an `Err`.
    ERRORS "errors" |stats| stats.errors;
    /// Their time without that of queries nested in them, whose sums over all values are exact.
    SELF_NS "self_ns" |stats| stats.self_ns;
    /// Their time, queries nested in them included.
    TOTAL_NS "total_ns" |stats| stats.total_ns;
    /// Their time each, on average.
    MEAN_NS "mean_ns" LabelStats::mean_ns;
    /// The median of their times.
    P50_NS "p50_ns" |stats| stats.histogram.quantile(0.5);
    /// What 95 in 100 took at most.
    P95_NS "p95_ns" |stats| stats.histogram.quantile(0.95);
    /// What 99 in 100 took at most.
    P99_NS "p99_ns" |stats| stats.histogram.quantile(0.99);
    /// What 999 in 1000 took at most.
    P999_NS "p999_ns" |stats| stats.histogram.quantile(0.999);
    /// The longest.
    MAX_NS "max_ns" |stats| stats.max_ns;
    /// Bytes allocated within them.
    ALLOC_BYTES "alloc_bytes" |stats| stats.alloc_bytes;
    /// Stages entered within them.
    STAGES "stages" |stats| stats.stages;
    /// Rows that they reported.
    ROWS "rows" |stats| stats.rows;
}

impl Column {
    /// The name under which the JSON of queries has it: that of the constant in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The column of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|column| column.name == name)
    }

    /// The figure.
    #[must_use]
    pub fn of(self, stats: &LabelStats) -> u64 {
        (self.of)(stats)
    }
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Column {}
