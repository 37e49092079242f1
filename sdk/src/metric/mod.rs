//! Metrics of the user's own: counters, gauges, distributions and summaries, by static handle or by labels.
//!
//! ```
//! use stagelight::{Counter, CounterFamily};
//!
//! static ROWS: Counter = Counter::new("rows_read_total", "Rows read.").component("storage");
//! static HITS: CounterFamily = CounterFamily::new("cache_hits_total", "Hits.", &["shard", "kind"]);
//!
//! ROWS.add(17);
//! let index_hits = HITS.with(&["3", "index"]); // may be kept
//! index_hits.inc();
//!
//! # #[cfg(feature = "enabled")]
//! assert_eq!(stagelight::snapshot().metrics[1].name, "rows_read_total");
//! ```
//!
//! A name that Prometheus doesn't take is an error of compilation:
//!
//! ```compile_fail,E0080
//! static ROWS: stagelight::Counter = stagelight::Counter::new("rows-read", "Rows read.");
//! ```
//!
//! # How it is fast
//! A metric is a number: where its words stand in a **slab**. Each thread has a slab of its own and adds to it with plain
//! loads and stores, so threads that count the same thing share no memory. A reader sums over the slabs. A slab whose
//! thread ended is used again and goes on counting. Threads that can have none write to one slab together, by locked
//! instructions: slower, and as exact. Only [`Gauge`] has one place for all threads, since the last `set` must win.
//!
//! # Rules
//! - A metric registers itself at its first use, under a lock and with allocations; after that nothing locks or allocates.
//! - Handles of one name, kind and unit are one metric. A handle of the same name and another kind or unit is refused:
//!   it counts nothing, says so once on standard error, and is counted as refused under `metric_kind`.
//! - So is a handle whose metric would be exposed under a name that another metric has already, in Prometheus' text format
//!   or in OpenMetrics: `rows_count` beside a distribution `rows`, a gauge `rows` beside a counter `rows_total`. The first
//!   that is used has the name. Some names are Stagelight's own: `stagelight_*` and three of `process_*`.
//! - The component is a label of its own, so handles of one name and different components are series of one metric.
//! - With the feature `enabled` off, handles do nothing.
//! - No metric may be touched in a signal handler, and none for the first time within a global allocator.
//!
//! # Memory
//! A slab reserves 1.5 MiB of address space, of which only the touched pages exist: 8 bytes a counter series, 64 a gauge,
//! 144 a distribution or summary and 256 for each power of two that its values fall into. There are at most 1,025 slabs.
//!
//! Nothing here imports from `collect` or `export`.

mod counter;
mod descriptor;
mod distribution;
pub(crate) mod exposed;
mod family;
mod family_table;
mod family_value;
mod gauge;
mod kind;
mod name;
mod quantities;
pub(crate) mod registry;
pub(crate) mod slab;
pub(crate) mod slabs;
mod summary;
#[cfg(all(test, feature = "enabled"))]
mod tests;
mod up_down_counter;
mod writer;

pub use counter::Counter;
pub use descriptor::Unit;
pub use distribution::Distribution;
pub use family::{
    CounterFamily, DistributionFamily, Family, GaugeFamily, Labelled, SummaryFamily, UpDownCounterFamily,
};
pub use family_value::{MetricFamily, MetricSeries, MetricValue};
pub use gauge::Gauge;
pub use kind::MetricKind;
pub use quantities::Quantities;
pub use summary::Summary;
pub use up_down_counter::UpDownCounter;

#[cfg(feature = "metrics")]
pub(crate) use descriptor::Shape;
#[cfg(feature = "metrics")]
pub(crate) use name::{sanitized_label, sanitized_name};

/// The state of all metrics that were used so far, by name; of each, its series by component and labels.
///
/// Makes no thread wait for the reading, and costs about a nanosecond a series and thread, for a distribution about a
/// microsecond.
#[must_use]
pub fn collect() -> Vec<MetricFamily> {
    let slabs = slabs::all();
    let mut families = Vec::new();
    for metric in registry::listing() {
        let read = |series: registry::Listed| MetricSeries {
            component: series.component,
            labels: series.labels,
            value: MetricValue::read(metric.shape, series.word, &slabs),
        };
        // `other` is there from the start, and shows once it is needed.
        let shown = |(overflow, series): &(bool, MetricSeries)| !overflow || !series.value.is_empty();
        let series = metric.series.into_iter().map(|series| (series.overflow, read(series))).filter(shown);
        families.push(MetricFamily {
            name: metric.name,
            help: metric.help,
            kind: metric.shape.kind(),
            unit: metric.unit,
            series: series.map(|(_, series)| series).collect(),
        });
    }
    families
}
