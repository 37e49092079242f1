//! A latency distribution, merged over threads.

use crate::record::octaves::{self, CELLS, OCTAVES};

/// Counts of durations by log-linear cells. A quantile is off by at most 1/64 of its value; the count is
/// exact and is that of the calls that the histogram rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// `OCTAVES * CELLS` counts, or none if nothing was recorded.
    cells: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new(cells: Vec<u64>, max: u64) -> Self {
        let count = cells.iter().sum();
        Self { cells, count, max }
    }

    /// Recorded durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest duration in nanoseconds, exact.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The duration in nanoseconds that a fraction `q` of the calls took at most, within 1.6 %. 0 if nothing
    /// was recorded; a `q` outside 0 to 1 counts as the nearer end, and `NaN` as 0.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, &count) in self.cells.iter().enumerate() {
            seen += count;
            if count > 0 && seen >= rank {
                return octaves::middle(index / CELLS, index % CELLS).min(self.max);
            }
        }
        self.max
    }

    /// Calls that took less than 2^`exponent` ns, exact: powers of two are borders between cells.
    #[must_use]
    pub fn count_below_power(&self, exponent: u32) -> u64 {
        let (octave, cell) = octaves::place(1_u64.checked_shl(exponent).unwrap_or(u64::MAX));
        self.cells.iter().take(octave * CELLS + cell).sum()
    }

    /// The distribution of what came after `earlier`, a former state of this histogram. Its maximum is that
    /// of its highest cell, as close as a difference can tell.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut cells = self.cells.clone();
        for (cell, before) in cells.iter_mut().zip(&earlier.cells) {
            *cell = cell.saturating_sub(*before);
        }
        let highest = cells.iter().rposition(|&count| count > 0);
        let max = highest.map_or(0, |index| {
            let (low, width) = octaves::bounds(index / CELLS, index % CELLS);
            (low + width - 1).min(self.max)
        });
        Histogram::new(cells, max)
    }

    /// Bytes of memory of a histogram that recorded anything.
    #[must_use]
    pub fn bytes() -> usize {
        OCTAVES * CELLS * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Histogram {
        let mut cells = vec![0; OCTAVES * CELLS];
        for &value in values {
            let (octave, cell) = octaves::place(value);
            cells[octave * CELLS + cell] += 1;
        }
        Histogram::new(cells, values.iter().copied().max().unwrap_or(0))
    }

    proptest! {
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
    fn a_difference_holds_what_came_after() {
        let (before, after) = (of(&[10, 1000]), of(&[10, 1000, 70, 80]));
        let since = after.since(&before);
        assert_eq!(since, Histogram { max: since.max, ..of(&[70, 80]) });
        assert!((80..83).contains(&since.max));
    }
}
