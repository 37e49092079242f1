//! How a thread adds to a slab.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::slab::{CELLS, CELLS_FULL, MAX, SUM, Slab, UNPLACED};

/// A slab that the calling thread may add to.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    slab: &'static Slab,
    /// Whether nobody else writes to it.
    alone: bool,
}

impl Writer {
    /// For a slab that only the calling thread writes to.
    #[inline(always)]
    pub(super) fn alone(slab: &'static Slab) -> Self {
        Self { slab, alone: true }
    }

    /// For a slab with other writers.
    #[inline(always)]
    pub(super) fn among_others(slab: &'static Slab) -> Self {
        Self { slab, alone: false }
    }

    #[inline(always)]
    fn update(self, word: &AtomicU64, with: impl Fn(u64) -> u64) {
        if self.alone {
            word.store(with(word.load(Relaxed)), Relaxed);
        } else {
            let _ = word.fetch_update(Relaxed, Relaxed, |value| Some(with(value)));
        }
    }

    #[inline(always)]
    fn add_to(self, word: &AtomicU64, n: u64) {
        if self.alone {
            word.store(word.load(Relaxed).wrapping_add(n), Relaxed);
        } else {
            word.fetch_add(n, Relaxed);
        }
    }

    #[inline(always)]
    pub(crate) fn add(self, word: u32, n: u64) {
        self.add_to(self.slab.word(word), n);
    }

    #[inline(always)]
    pub(crate) fn add_f64(self, word: u32, n: f64) {
        self.update(self.slab.word(word), |sum| (f64::from_bits(sum) + n).to_bits());
    }

    /// Counts a value of the distribution whose words start at `header`.
    #[inline(always)]
    pub(super) fn record(self, header: u32, value: u64) {
        self.add(header + SUM, value);
        self.count(header, value);
    }

    /// As `record`, but for the sum.
    #[inline(always)]
    fn count(self, header: u32, value: u64) {
        let max = self.slab.word(header + MAX);
        if value > max.load(Relaxed) {
            self.update(max, |max| max.max(value));
        }
        let (octave, cell) = place(value);
        match self.slab.cells(header, octave).or_else(|| self.slab.grow(header, octave)) {
            Some(cells) => self.add_to(&cells[cell % CELLS], 1),
            None => self.unplaced(header),
        }
    }

    #[cold]
    #[inline(never)]
    fn unplaced(self, header: u32) {
        self.add(header + UNPLACED, 1);
        self.add(CELLS_FULL, 1);
    }

    /// Counts a fraction, in steps of 2^-30.
    #[cfg(feature = "metrics")]
    pub(crate) fn record_fraction(self, header: u32, value: f64) {
        self.add_f64(header + SUM, value);
        // Too large and negative values saturate.
        self.count(header, (value * super::quantities::STEPS) as u64);
    }
}

/// The octave and cell of a value: as `Scale::place`, without an upper end.
#[inline(always)]
fn place(value: u64) -> (usize, usize) {
    const CELL_BITS: u32 = CELLS.trailing_zeros();
    if value < CELLS as u64 {
        return (0, value as usize);
    }
    let shift = value.ilog2() - CELL_BITS;
    (shift as usize + 1, (value >> shift) as usize & (CELLS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::slab::{FIRST_METRIC, HEADER_WORDS, OCTAVES};
    use crate::record::octaves::FINE;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        #[test]
        fn a_value_lies_in_its_cell(value in prop_oneof![0..100_u64, any::<u64>(), Just(u64::MAX)]) {
            let (octave, cell) = place(value);
            prop_assert!(octave < OCTAVES && cell < CELLS);
            let (low, width) = FINE.bounds(octave, cell);
            prop_assert!(low <= value && value - low < width);
        }
    }

    #[test]
    fn full_chunks_count_what_has_no_cell() {
        const METRICS: u32 = if cfg!(miri) { 3 } else { 100 };
        let slab = super::super::slabs::new_slab().unwrap();
        let writer = Writer::alone(slab);
        let mut recorded = 0;
        for metric in 0..METRICS {
            let header = FIRST_METRIC + metric * HEADER_WORDS as u32;
            for exponent in 0..64 {
                writer.record(header, 1 << exponent);
                recorded += 1;
            }
        }
        let (mut placed, mut unplaced) = (0, 0);
        for metric in 0..METRICS {
            let header = FIRST_METRIC + metric * HEADER_WORDS as u32;
            unplaced += slab.get(header + UNPLACED);
            let cells = (0..OCTAVES).filter_map(|octave| slab.cells(header, octave)).flatten();
            placed += cells.map(|cell| cell.load(Relaxed)).sum::<u64>();
        }
        assert!(placed > 0 && unplaced > 0);
        assert_eq!((placed + unplaced, unplaced), (recorded, slab.get(CELLS_FULL)));
    }

    #[test]
    fn threads_that_share_a_slab_lose_nothing() {
        const CALLS: u64 = crate::testing::repetitions(5_000);
        let slab = super::super::slabs::new_slab().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let writer = Writer::among_others(slab);
                    (0..CALLS).for_each(|value| writer.record(FIRST_METRIC, value));
                });
            }
        });
        let cells = (0..OCTAVES).filter_map(|octave| slab.cells(FIRST_METRIC, octave)).flatten();
        assert_eq!(cells.map(|cell| cell.load(Relaxed)).sum::<u64>(), 4 * CALLS);
        assert_eq!(slab.get(FIRST_METRIC + SUM), 4 * (CALLS - 1) * CALLS / 2);
        assert_eq!(slab.get(FIRST_METRIC + MAX), CALLS - 1);
    }
}
