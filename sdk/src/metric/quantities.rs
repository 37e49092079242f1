//! The values that a distribution or summary has recorded, merged over threads.

use std::sync::atomic::Ordering;

use super::slab::{CELLS, MAX, OCTAVES, SUM, Slab, UNPLACED};
use crate::record::octaves::FINE;

/// Fractions are kept in steps of 2^-30.
pub(super) const STEPS: f64 = (1_u64 << 30) as f64;

/// The recorded values of a distribution or summary, in its unit.
///
/// Count, sum and maximum are exact; quantiles are off by at most 1/64.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantities {
    /// `OCTAVES * CELLS` counts, or none.
    cells: Vec<u64>,
    count: u64,
    /// Of whole numbers.
    whole_sum: u64,
    /// Of fractions.
    fraction_sum: f64,
    max: f64,
    /// Cells are of fractions, not of whole numbers.
    fractions: bool,
}

impl Quantities {
    pub(super) fn read(header: u32, fractions: bool, slabs: &[&Slab]) -> Self {
        let mut cells = Vec::new();
        let (mut unplaced, mut whole_sum, mut fraction_sum, mut max) = (0, 0_u64, 0.0, 0);
        for slab in slabs {
            for octave in 0..OCTAVES {
                let Some(counts) = slab.cells(header, octave) else { continue };
                cells.resize(OCTAVES * CELLS, 0);
                for (sum, count) in cells[octave * CELLS..].iter_mut().zip(counts) {
                    *sum += count.load(Ordering::Relaxed);
                }
            }
            unplaced += slab.get(header + UNPLACED);
            whole_sum = whole_sum.wrapping_add(slab.get(header + SUM));
            fraction_sum += f64::from_bits(slab.get(header + SUM));
            max = max.max(slab.get(header + MAX));
        }
        let step = if fractions { 1.0 / STEPS } else { 1.0 };
        Self {
            count: cells.iter().sum::<u64>() + unplaced,
            cells,
            whole_sum,
            fraction_sum,
            max: max as f64 * step,
            fractions,
        }
    }

    /// Recorded values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        if self.fractions { self.fraction_sum } else { self.whole_sum as f64 }
    }

    /// The sum of whole numbers, exact.
    #[cfg(feature = "prometheus")]
    pub(crate) fn whole_sum(&self) -> Option<u64> {
        (!self.fractions).then_some(self.whole_sum)
    }

    /// The largest; 0 if nothing was recorded.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The value that a fraction `q` of the values are at most, within 1.6 %. 0 if nothing was recorded; a `q` outside 0
    /// to 1 counts as the nearer end, and `NaN` as 0.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let placed = self.cells.iter().sum::<u64>();
        let rank = ((q.clamp(0.0, 1.0) * placed as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, &count) in self.cells.iter().enumerate() {
            seen += count;
            if count > 0 && seen >= rank {
                let middle = FINE.middle(index / CELLS, index % CELLS) as f64;
                return (if self.fractions { middle / STEPS } else { middle }).min(self.max);
            }
        }
        self.max
    }

    /// Borders at powers of four, each with the number of values up to it, exact: borders of cells. Whole numbers reach
    /// from 0 (4^0 - 1) to 4^20 - 1, fractions from 4^-10 to 4^16.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let powers = if self.fractions { 5..=31 } else { 0..=20_u32 };
        let border = |power: u32| {
            let border = 1_u64 << (2 * power);
            // What lies below 4^k is at most 4^k - 1, if it is a whole number.
            let upper = if self.fractions { border as f64 / STEPS } else { (border - 1) as f64 };
            (upper, self.count_below_power(2 * power))
        };
        powers.map(border).collect()
    }

    /// Values below 2^`exponent` steps.
    fn count_below_power(&self, exponent: u32) -> u64 {
        let (octave, cell) = match exponent.checked_sub(CELLS.trailing_zeros()) {
            // The power starts an octave.
            Some(above) => (above as usize + 1, 0),
            None => (0, 1 << exponent),
        };
        self.cells.iter().take(octave * CELLS + cell).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::slab::FIRST_METRIC;
    use crate::metric::slabs::new_slab;
    use crate::metric::writer::Writer;
    use proptest::prelude::*;

    fn of(values: &[u64]) -> Quantities {
        let slabs = [new_slab().unwrap(), new_slab().unwrap()];
        for (index, &value) in values.iter().enumerate() {
            Writer::alone(slabs[index % 2]).record(FIRST_METRIC, value);
        }
        Quantities::read(FIRST_METRIC, false, &slabs)
    }

    proptest! {
        #![proptest_config(crate::testing::cases(32))]
        #[test]
        fn quantiles_and_buckets_are_those_of_the_values(
            mut values in prop::collection::vec(prop_oneof![0..300_u64, 1..1_u64 << 50], 1..100),
            q in 0.0..=1.0_f64,
        ) {
            let quantities = of(&values);
            values.sort_unstable();
            let exact = values[((q * values.len() as f64).ceil() as usize).max(1) - 1] as f64;
            prop_assert!((quantities.quantile(q) - exact).abs() <= exact / 64.0 + 0.5);
            prop_assert_eq!(quantities.count(), values.len() as u64);
            prop_assert_eq!(quantities.sum(), values.iter().sum::<u64>() as f64);
            for (upper, count) in quantities.buckets() {
                prop_assert_eq!(count, values.iter().filter(|&&value| value as f64 <= upper).count() as u64);
            }
        }
    }

    #[test]
    fn nothing_recorded_is_zero() {
        let empty = of(&[]);
        assert_eq!((empty.count(), empty.sum(), empty.max(), empty.quantile(0.5)), (0, 0.0, 0.0, 0.0));
    }
}
