//! A latency distribution, merged over threads.

use crate::record::counts::Counts;
use crate::record::octaves::{FINE, Scale};

/// Counts of durations by log-linear cells. A stage's quantiles are off by at most 1/64 of their value, a label's by 1/16.
///
/// Where only some calls were timed, each counts for those that it stands for, and the whole is scaled to the exact number
/// of calls: [`count`](Self::count) is always the number of calls, and [`timed`](Self::timed) says on how many it rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    scale: Scale,
    /// Weighted counts.
    cells: Counts,
    /// Their sum.
    weight: u64,
    calls: u64,
    timed: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new(FINE, Counts::default(), 0, 0, 0)
    }
}

impl Histogram {
    pub(crate) fn new(scale: Scale, cells: Counts, calls: u64, timed: u64, max: u64) -> Self {
        let weight = cells.sum();
        Self { scale, cells, weight, calls, timed, max }
    }

    /// Finished calls.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.calls
    }

    /// Calls whose duration was measured.
    #[must_use]
    pub fn timed(&self) -> u64 {
        self.timed
    }

    /// The longest duration that was measured, in nanoseconds.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The duration in nanoseconds that a fraction `q` of the calls took at most. 0 if nothing was timed; a `q` outside 0
    /// to 1 counts as the nearer end, and `NaN` as 0.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((q.clamp(0.0, 1.0) * self.weight as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.cells.iter() {
            seen += count;
            if seen >= rank {
                let (octave, cell) = (index / self.scale.cells(), index % self.scale.cells());
                return self.scale.middle(octave, cell).min(self.max);
            }
        }
        self.max
    }

    /// Calls that took less than 2^`exponent` ns: timed ones, each counted for those that it stands for and not scaled, so
    /// that what was counted once is so in each later snapshot. Exact where all were timed, since powers of two are borders
    /// between cells.
    #[must_use]
    pub fn count_below_power(&self, exponent: u32) -> u64 {
        let (octave, cell) = self.scale.place(1_u64.checked_shl(exponent).unwrap_or(u64::MAX));
        let end = octave * self.scale.cells() + cell;
        self.cells.iter().take_while(|(index, _)| *index < end).map(|(_, count)| count).sum()
    }

    /// The timed calls, each counted for those that it stands for: an estimate of [`count`](Self::count), and the same where
    /// all were timed.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// The distribution of what came after `earlier`, a former state of this histogram. Its maximum is that
    /// of its highest cell, as close as a difference can tell.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let cells = self.cells.since(&earlier.cells, u64::saturating_sub);
        let highest = cells.iter().next_back();
        let max = highest.map_or(0, |(index, _)| {
            let (low, width) = self.scale.bounds(index / self.scale.cells(), index % self.scale.cells());
            (low + width - 1).min(self.max)
        });
        let calls = self.calls.saturating_sub(earlier.calls);
        Histogram::new(self.scale, cells, calls, self.timed.saturating_sub(earlier.timed), max)
    }

    /// What the values of each cell that has any are reported as, lowest first, and its weighted count.
    #[cfg(feature = "hdrhistogram")]
    pub(crate) fn filled(&self) -> impl Iterator<Item = (u64, u64)> {
        self.cells.iter().map(|(index, count)| {
            let (octave, cell) = (index / self.scale.cells(), index % self.scale.cells());
            (self.scale.middle(octave, cell).min(self.max), count)
        })
    }

    /// Adds all of another one of the same scale.
    pub(crate) fn merge(&mut self, other: &Histogram) {
        self.add(other.cells.clone(), other.calls, other.timed, other.max);
    }

    /// Adds another one of the same scale.
    pub(crate) fn add(&mut self, cells: Counts, calls: u64, timed: u64, max: u64) {
        self.weight += cells.sum();
        self.cells.take_in(cells);
        self.calls += calls;
        self.timed += timed;
        self.max = self.max.max(max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::octaves::COARSE;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        of_scale(FINE, values)
    }

    fn of_scale(scale: Scale, values: &[u64]) -> Histogram {
        let cells = values.iter().map(|&value| (scale.index(value), 1)).collect();
        let count = values.len() as u64;
        Histogram::new(scale, cells, count, count, values.iter().copied().max().unwrap_or(0))
    }

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        #[test]
        fn quantiles_are_within_the_stated_error(
            mut values in prop::collection::vec(1..10_000_000_000_u64, 1..500),
            q in 0.0..=1.0_f64,
        ) {
            let histogram = of(&values);
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let estimate = histogram.quantile(q);
            prop_assert!(estimate.abs_diff(exact) as f64 <= exact as f64 / 64.0 + 0.5, "{estimate} for {exact}");
            prop_assert!(histogram.quantile(1.0) <= histogram.max());
        }

        #[test]
        fn merged_quantiles_are_within_the_stated_error(
            parts in prop::collection::vec(prop::collection::vec(1..10_000_000_000_u64, 0..100), 1..8),
            scale in prop_oneof![Just(FINE), Just(COARSE)],
            q in 0.0..=1.0_f64,
        ) {
            // As threads' histograms are merged, and as a window is what came after the first thread's.
            let mut merged = Histogram::new(scale, Counts::default(), 0, 0, 0);
            for part in &parts {
                let part = of_scale(scale, part);
                merged.add(part.cells, part.calls, part.timed, part.max);
            }
            let error = 1.0 / (2 * scale.cells()) as f64;
            for (histogram, skip) in [(merged.clone(), 0), (merged.since(&of_scale(scale, &parts[0])), 1)] {
                let mut values = parts[skip..].concat();
                values.sort_unstable();
                prop_assert_eq!(histogram.count(), values.len() as u64);
                let rank = ((q * values.len() as f64).ceil() as usize).max(1);
                let exact = values.get(rank - 1).copied().unwrap_or(0);
                let estimate = histogram.quantile(q);
                prop_assert!(estimate.abs_diff(exact) as f64 <= exact as f64 * error + 0.5, "{estimate} for {exact}");
            }
        }

        #[test]
        fn powers_of_two_split_exactly(values in prop::collection::vec(any::<u32>().prop_map(u64::from), 0..200), exponent in 0..40_u32) {
            let below = values.iter().filter(|&&value| value < 1 << exponent).count();
            prop_assert_eq!(of(&values).count_below_power(exponent), below as u64);
        }
    }

    #[test]
    fn an_empty_histogram_answers_zero() {
        let empty = Histogram::default();
        assert_eq!((empty.count(), empty.quantile(0.5), empty.max()), (0, 0, 0));
    }

    #[test]
    fn what_was_timed_stands_for_all_calls() {
        let some = of(&[100, 100, 100, 5000]);
        // One call in a hundred was timed, each for a hundred; a hundredth more were counted.
        let cells = some.cells.iter().map(|(index, count)| (index, count * 100)).collect();
        let some = Histogram::new(FINE, cells, 404, 4, 5000);
        assert_eq!((some.count(), some.timed()), (404, 4));
        assert_eq!((some.count_below_power(10), some.count_below_power(40), some.weight()), (300, 400, 400));
        assert!((98..=102).contains(&some.quantile(0.7)) && some.quantile(0.8) > 4900);
    }

    #[test]
    fn a_difference_holds_what_came_after() {
        let (before, after) = (of(&[10, 1000]), of(&[10, 1000, 70, 80]));
        let since = after.since(&before);
        assert_eq!(since, Histogram { max: since.max, ..of(&[70, 80]) });
        assert!((80..83).contains(&since.max));
    }
}
