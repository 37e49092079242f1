//! Queries by their labels in the Prometheus format.
//!
//! A histogram is eighteen series, so of each kind of label [`HISTOGRAMS`] values have one and all
//! others share that of `other`. A value has one for as long as it has an entry: the heaviest of
//! those that are there at the first exposition, and then whoever comes while there is room. One
//! that counted in `other` stays there, since `other` must not fall.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use super::exposition::{Family, Labels, Number, Value};
use super::families::{Families, buckets};
use crate::collect::histogram::Histogram;
use crate::collect::snapshot::{LabelStats, Snapshot};
use crate::metric::MetricKind;
use crate::record::fork::{self, AtFork};
use crate::record::interner::OTHER;
use crate::record::labels::{KINDS, LabelKind};

/// Values of a kind of label that have histograms of their own.
const HISTOGRAMS: usize = 100;

/// Which values of a kind have a histogram, and which count in that of `other`.
struct Shown {
    own: BTreeSet<String>,
    beyond: BTreeSet<String>,
}

static SHOWN: Mutex<[Shown; KINDS]> =
    Mutex::new([const { Shown { own: BTreeSet::new(), beyond: BTreeSet::new() } }; KINDS]);

/// Values that came when there was no room, of all kinds so far.
static BEYOND: AtomicU64 = AtomicU64::new(0);

fn lock() -> MutexGuard<'static, [Shown; KINDS]> {
    static FORK: Once = Once::new();
    FORK.call_once(|| {
        fork::heed(AtFork { hold: || vec![Box::new(lock()) as Box<dyn Any>], in_child: || {} });
    });
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many values have no histogram of their own because there were too many.
pub(super) fn beyond_cap() -> u64 {
    BEYOND.load(Ordering::Relaxed)
}

pub(super) fn families(snapshot: &Snapshot) -> Families {
    let mut shown = lock();
    let of = |kind: LabelKind| of_kind(kind, snapshot.by_label(kind), &mut shown[kind as usize]);
    LabelKind::ALL.into_iter().flat_map(of).collect()
}

fn of_kind(kind: LabelKind, labels: &[LabelStats], shown: &mut Shown) -> Families {
    let kind = kind.name();
    // A kind that no query named says nothing.
    if labels.iter().all(|label| label.value.is_empty()) {
        return Vec::new();
    }
    shown.admit(labels);
    let counter = |name: &str, help: &str, value: fn(&LabelStats) -> Number| {
        let of =
            |label: &LabelStats| (Labels::default().and(kind, &label.value), Value::Number(value(label)));
        let name = format!("stagelight_{kind}_{name}");
        Family::new(name, format!("{help}, by {kind}."), MetricKind::Counter, labels.iter().map(of))
    };
    vec![
        counter("queries_total", "Finished queries", |l| l.calls.into()),
        counter("query_errors_total", "Queries that returned an error", |l| l.errors.into()),
        counter("query_seconds_total", "Time within queries, without that of queries nested in them", |l| {
            Number::Nanoseconds(l.self_ns)
        }),
        counter(
            "query_allocated_bytes_total",
            "Bytes allocated within queries, without those of queries nested in them",
            |l| l.alloc_bytes.into(),
        ),
        Family::new(
            format!("stagelight_{kind}_query_duration_seconds"),
            format!(
                "Time of queries, that of queries nested in them included, by {kind}: of {HISTOGRAMS} values and all \
                 others as {OTHER}. Timed queries, each for those that it stands for."
            ),
            MetricKind::Histogram,
            shown.histograms(labels).into_iter().map(|(value, histogram, sum_ns)| {
                (Labels::default().and(kind, value), buckets(&histogram, sum_ns))
            }),
        ),
    ]
}

impl Shown {
    /// Gives histograms to values that came, the heaviest first, while there is room.
    fn admit(&mut self, labels: &[LabelStats]) {
        let values: BTreeSet<&str> = labels.iter().map(|label| label.value.as_str()).collect();
        // What has lost its entry begins anew if it comes again.
        self.own.retain(|value| values.contains(value.as_str()));
        self.beyond.retain(|value| values.contains(value.as_str()));
        let known =
            |value: &String| value == OTHER || self.own.contains(value) || self.beyond.contains(value);
        let mut new: Vec<&LabelStats> = labels.iter().filter(|label| !known(&label.value)).collect();
        new.sort_by_key(|label| std::cmp::Reverse(label.self_ns));
        for label in new {
            if self.own.len() < HISTOGRAMS {
                self.own.insert(label.value.clone());
            } else {
                self.beyond.insert(label.value.clone());
                BEYOND.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The histograms by value, with the sums of their durations.
    fn histograms<'a>(&self, labels: &'a [LabelStats]) -> Vec<(&'a str, Histogram, u64)> {
        let (own, others): (Vec<_>, Vec<_>) =
            labels.iter().partition(|label| self.own.contains(&label.value));
        let mut histograms: Vec<_> = own
            .into_iter()
            .map(|label| (label.value.as_str(), label.histogram.clone(), label.total_ns))
            .collect();
        if let Some((first, rest)) = others.split_first() {
            let (mut all, mut sum_ns) = (first.histogram.clone(), first.total_ns);
            for label in rest {
                all.merge(&label.histogram);
                sum_ns = sum_ns.wrapping_add(label.total_ns);
            }
            histograms.push((OTHER, all, sum_ns));
        }
        histograms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(value: usize, self_ns: u64) -> LabelStats {
        LabelStats { value: value.to_string(), self_ns, total_ns: self_ns, ..Default::default() }
    }

    #[test]
    fn the_heaviest_have_histograms_and_nobody_changes_sides() {
        let mut shown = Shown { own: BTreeSet::new(), beyond: BTreeSet::new() };
        let mut labels: Vec<LabelStats> = (0..HISTOGRAMS + 20).map(|n| label(n, n as u64)).collect();
        shown.admit(&labels);
        assert_eq!((shown.own.len(), shown.beyond.len()), (HISTOGRAMS, 20));
        assert!(shown.beyond.contains("0") && shown.own.contains(&(HISTOGRAMS + 19).to_string()));
        // One that counted in `other` stays there, however heavy it becomes and whoever leaves.
        labels[0].self_ns = 1_000_000;
        labels.pop();
        shown.admit(&labels);
        assert!(shown.beyond.contains("0") && shown.own.len() == HISTOGRAMS - 1);
        labels.push(label(1000, 1));
        shown.admit(&labels);
        assert!(shown.own.contains("1000") && shown.own.len() == HISTOGRAMS);
        let histograms = shown.histograms(&labels);
        assert_eq!(histograms.len(), HISTOGRAMS + 1);
        let all: u64 = histograms.iter().map(|(_, _, sum_ns)| sum_ns).sum();
        assert_eq!(all, labels.iter().map(|label| label.total_ns).sum::<u64>());
    }
}
