//! What dependencies count through the [`metrics`](https://docs.rs/metrics) facade, in our registry.
//!
//! ```
//! stagelight::bridge::metrics::install().expect("nobody else installed one");
//!
//! // Somewhere in a dependency:
//! metrics::counter!("pool_checkouts_total", "pool" => "main").increment(1);
//!
//! let metrics = stagelight::snapshot().metrics;
//! let checkouts = metrics.iter().find(|metric| metric.name == "pool_checkouts_total").unwrap();
//! assert_eq!(checkouts.series[0].labels, [("pool", "main")]);
//! ```
//!
//! The component of a metric is the crate that touched it first. Names that Prometheus doesn't take are changed (counted
//! as `metric_name`), sets of labels beyond 512 a metric share the one whose labels are all `other` (`metric_label_cap`),
//! and label values are cut after 256 bytes (`metric_label_length`).
//!
//! A handle that the dependency keeps costs what ours do; the facade's macros look it up at each call, which costs a read
//! lock and a hash. Histograms tell values from 10^-9 to 10^10 apart within 1.6 %; what is not finite is refused
//! (`metric_not_finite`). Units are left to the names.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ::metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit,
};

use crate::metric::{Shape, registry, sanitized_label, sanitized_name, slab, slabs};
use crate::record::labels::cut;

/// Sets of labels a metric.
const CAP: usize = 512;

/// Bytes of a label's value.
const MAX_BYTES: usize = 256;

/// Handles that are kept, and descriptions that wait for their metric.
const MAX_KEPT: usize = 1 << 16;
const MAX_WAITING: usize = 4096;

/// Makes our registry the one that the `metrics` facade records to, for the whole process.
///
/// # Errors
/// If the facade has a recorder already.
pub fn install() -> Result<(), AlreadyInstalled> {
    ::metrics::set_global_recorder(Recorder::default()).map_err(|_| AlreadyInstalled)
}

/// The `metrics` facade has a recorder already, and goes on with that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyInstalled;

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the `metrics` facade has a recorder already")
    }
}

impl std::error::Error for AlreadyInstalled {}

/// The recorder that [`install`] installs, for who wants to put a layer before it. All record to one registry.
#[derive(Debug, Default)]
pub struct Recorder {
    counters: Kept<Counter>,
    gauges: Kept<Gauge>,
    histograms: Kept<Histogram>,
    /// Help of metrics that nobody touched yet, by name.
    waiting: Mutex<HashMap<String, String>>,
}

/// A map from key to handle. (A key's hash does not depend on the part that changes.)
#[derive(Debug)]
struct Kept<H>(RwLock<HashMap<Key, H>>);

impl<H> Default for Kept<H> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<H: Clone> Kept<H> {
    /// The handle of a key, made from where its metric's words stand.
    fn get(&self, key: &Key, place: impl FnOnce() -> Option<u32>, make: impl Fn(u32) -> H) -> Option<H> {
        if let Some(handle) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Some(handle.clone());
        }
        let handle = make(place()?);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            return Some(handle);
        }
        // Another thread may have been faster, and its handle may hold what `absolute` set.
        Some(kept.entry(key.to_retained()).or_insert(handle).clone())
    }
}

impl Recorder {
    fn handle<H: Clone>(
        &self,
        kept: &Kept<H>,
        shape: Shape,
        key: &Key,
        metadata: &Metadata<'_>,
        make: impl Fn(u32) -> H,
    ) -> H {
        let names = || key.labels().map(|label| sanitized_label(label.key()));
        let with_spec = |with: &dyn Fn(&registry::Spec<'_>) -> Option<u32>| {
            let name = sanitized_name(key.name());
            let path = metadata.module_path().unwrap_or(metadata.target());
            let help = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            with(&registry::Spec {
                name: &name,
                help: help.as_deref().unwrap_or_default(),
                component: path.split("::").next().unwrap_or_default(),
                unit: crate::Unit::Plain,
                shape,
            })
        };
        let place = || {
            with_spec(&|spec| {
                let names: Vec<String> = names().collect();
                if spec.name != key.name()
                    || key.labels().zip(&names).any(|(label, name)| label.key() != name)
                {
                    registry::refuse_name();
                }
                registry::place_capped(spec, &labels(key, &names), CAP)
            })
        };
        kept.get(key, place, &make).unwrap_or_else(|| {
            slabs::writer().add(slab::LABEL_CAP, 1);
            let names: Vec<String> = names().collect();
            let other =
                with_spec(&|spec| Some(registry::place_other(spec, names.iter().map(String::as_str))));
            make(other.unwrap_or(slab::NOWHERE))
        })
    }

    fn describe(&self, name: &KeyName, help: &str) {
        let name = sanitized_name(name.as_str());
        if registry::describe(&name, help) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MAX_WAITING {
            waiting.entry(name).or_insert_with(|| help.to_owned());
        }
    }
}

/// The key's labels under the names that we take. A name stands once: the first of its values counts.
fn labels<'a>(key: &'a Key, names: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let mut labels: Vec<(&str, &str)> = Vec::new();
    for (label, name) in key.labels().zip(names) {
        let mut value = label.value();
        if value.len() > MAX_BYTES {
            slabs::writer().add(slab::LABEL_LENGTH, 1);
            value = cut(value, MAX_BYTES);
        }
        if labels.iter().all(|(known, _)| known != name) {
            labels.push((name, value));
        }
    }
    labels
}

impl ::metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let make = |word| Counter::from_arc(Arc::new(OurCounter { word, absolute: AtomicU64::new(0) }));
        self.handle(&self.counters, Shape::Counter, key, metadata, make)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.handle(&self.gauges, Shape::Gauge, key, metadata, |word| {
            Gauge::from_arc(Arc::new(OurGauge(word)))
        })
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let make = |word| Histogram::from_arc(Arc::new(OurHistogram(word)));
        self.handle(&self.histograms, Shape::Fractions, key, metadata, make)
    }
}

struct OurCounter {
    word: u32,
    /// The most that `absolute` was told. Increments come on top.
    absolute: AtomicU64,
}

impl CounterFn for OurCounter {
    fn increment(&self, n: u64) {
        slabs::writer().add(self.word, n);
    }

    fn absolute(&self, value: u64) {
        let before = self.absolute.fetch_max(value, Ordering::Relaxed);
        self.increment(value.saturating_sub(before));
    }
}

struct OurGauge(u32);

impl GaugeFn for OurGauge {
    fn increment(&self, n: f64) {
        slabs::shared().add_f64(self.0, n);
    }

    fn decrement(&self, n: f64) {
        self.increment(-n);
    }

    fn set(&self, value: f64) {
        slab::SHARED.set(self.0, value.to_bits());
    }
}

struct OurHistogram(u32);

impl HistogramFn for OurHistogram {
    fn record(&self, value: f64) {
        if value.is_finite() {
            slabs::writer().record_fraction(self.0, value);
        } else {
            slabs::writer().add(slab::NOT_FINITE, 1);
        }
    }
}

#[cfg(test)]
mod tests;
