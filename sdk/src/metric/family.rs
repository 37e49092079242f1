//! Metrics by labels.

use std::fmt;
use std::sync::OnceLock;

use super::descriptor::{Descriptor, Shape};
use super::family_table::Table;
use super::name::check_labels;
use super::{Counter, Distribution, Gauge, Summary, Unit, UpDownCounter, registry, slab, slabs};
use crate::record::labels::cut;

/// Counters by labels.
pub type CounterFamily = Family<Counter>;
/// Up-down counters by labels.
pub type UpDownCounterFamily = Family<UpDownCounter>;
/// Gauges by labels.
pub type GaugeFamily = Family<Gauge>;
/// Distributions by labels.
pub type DistributionFamily = Family<Distribution>;
/// Summaries by labels.
pub type SummaryFamily = Family<Summary>;

/// Labels of a family.
const MAX_LABELS: usize = 8;

/// Bytes of a label's value; the rest is cut.
const MAX_BYTES: usize = 256;

/// Label sets of a family unless it says otherwise.
const DEFAULT_CAP: usize = 512;

/// A metric that a family can have. Implemented by the handles, and by nothing else.
pub trait Labelled: Sealed {}

/// What a family must know of its metrics.
pub trait Sealed: Sized + Sync + Send + 'static {
    /// One that nobody reads.
    const NOWHERE: Self;
    #[doc(hidden)]
    const SHAPE: Shape;
    #[doc(hidden)]
    fn at(word: u32) -> Self;
}

/// Metrics of one name, told apart by labels.
///
/// The first 512 sets of values (or what [`cap`](Self::cap) says) have a metric each; those beyond it share one whose
/// labels are all `other`, so that totals stay exact. What was refused is counted, by cause.
pub struct Family<M> {
    descriptor: Descriptor,
    labels: &'static [&'static str],
    cap: usize,
    table: OnceLock<Table<M>>,
    nowhere: M,
}

impl<M: Labelled> Family<M> {
    /// A family, to be kept in a `static`, with the names of its labels.
    ///
    /// # Panics
    /// If a name is not one that Prometheus takes, a label stands twice, is called `component`, `le` or `quantile`, or
    /// there is none or more than eight. In a `static` that is an error of compilation.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        check_labels(labels, MAX_LABELS);
        let descriptor = Descriptor::new(M::SHAPE, name, help);
        Self { descriptor, labels, cap: DEFAULT_CAP, table: OnceLock::new(), nowhere: M::NOWHERE }
    }

    /// The part of the system that the metrics belong to. None unless set.
    #[must_use]
    pub const fn component(mut self, component: &'static str) -> Self {
        self.descriptor.component = component;
        self
    }

    /// What is measured; [`Unit::Plain`] unless set.
    #[must_use]
    pub const fn unit(mut self, unit: Unit) -> Self {
        self.descriptor.unit = unit;
        self
    }

    /// How many sets of label values are told apart; 512 unless set. Families of one name share one count.
    #[must_use]
    pub const fn cap(mut self, sets: usize) -> Self {
        self.cap = sets;
        self
    }

    /// The metric of these label values, in the order of the names. A caller that knows its labels beforehand keeps it.
    ///
    /// Costs some ten nanoseconds, and a lock and allocations at the first sight of a set. Values are cut after 256
    /// bytes (counted). As many values as names are due: else it is the metric of `other` (counted).
    #[must_use = "this finds the metric; it counts nothing yet"]
    #[inline]
    pub fn with(&'static self, values: &[&str]) -> &'static M {
        if !slabs::ENABLED {
            return &self.nowhere;
        }
        let table = match self.table.get() {
            Some(table) => table,
            None => self.table(),
        };
        if values.len() != self.labels.len() {
            return refuse(slab::LABEL_COUNT, table);
        }
        if values.iter().any(|value| value.len() > MAX_BYTES) {
            return self.cut(table, values);
        }
        self.find(table, values)
    }

    #[inline]
    fn find(&self, table: &'static Table<M>, values: &[&str]) -> &'static M {
        match table.find(values) {
            Some(metric) => metric,
            None if table.is_full() => refuse(slab::LABEL_CAP, table),
            None => self.add(table, values),
        }
    }

    /// First touch of the family.
    #[cold]
    fn table(&'static self) -> &'static Table<M> {
        self.table.get_or_init(|| {
            let other = registry::place_other(&self.descriptor.spec(), self.labels.iter().copied());
            Table::new(self.cap, M::at(other), other == slab::NOWHERE)
        })
    }

    #[cold]
    fn cut(&self, table: &'static Table<M>, values: &[&str]) -> &'static M {
        slabs::writer().add(slab::LABEL_LENGTH, 1);
        let mut short = [""; MAX_LABELS];
        for (short, value) in short.iter_mut().zip(values) {
            *short = if value.len() > MAX_BYTES { cut(value, MAX_BYTES) } else { value };
        }
        self.find(table, &short[..values.len()])
    }

    /// First touch of a set.
    #[cold]
    #[inline(never)]
    fn add(&self, table: &'static Table<M>, values: &[&str]) -> &'static M {
        let place = || {
            let mut labels = [("", ""); MAX_LABELS];
            for (label, (name, value)) in labels.iter_mut().zip(self.labels.iter().zip(values)) {
                *label = (name, value);
            }
            let word = registry::place_capped(&self.descriptor.spec(), &labels[..values.len()], self.cap);
            // Without room of its own a set counts under `other`.
            word.filter(|&word| word != slab::NOWHERE).map(M::at)
        };
        table.add(values, place).unwrap_or_else(|| refuse(slab::LABEL_CAP, table))
    }
}

/// Counts a refusal: the set's metric is that of `other`.
#[cold]
#[inline(never)]
fn refuse<M>(cause: u32, table: &'static Table<M>) -> &'static M {
    slabs::writer().add(cause, 1);
    table.other()
}

impl<M> fmt::Debug for Family<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("name", &self.descriptor.name).field("labels", &self.labels).finish()
    }
}
