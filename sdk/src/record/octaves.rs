//! The arithmetic of log-linear histograms: which cell a value falls into and what a cell stands for.
//!
//! An octave holds the values of one power of two in cells of equal width. A cell reports its middle, so a value is off by
//! at most half a cell: with the stages' 32 cells by 1/64 = 1.6 %, which is what cells of half that width that report
//! their edge would give for twice the memory; with the labels' 8 cells by 1/16. The first octave is exact.

/// Values up to 2^43 ns, two and a half hours, are told apart. What is longer counts in the last cell.
pub(crate) const LARGEST_POWER: u32 = 43;
pub(crate) const LARGEST: u64 = (1 << LARGEST_POWER) - 1;

/// How finely an octave is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    cell_bits: u32,
}

/// The scale of stages.
pub(crate) const FINE: Scale = Scale { cell_bits: 5 };
/// The scale of label sets, of which there are many.
pub(crate) const COARSE: Scale = Scale { cell_bits: 3 };

impl Scale {
    /// Cells an octave.
    pub(crate) const fn cells(self) -> usize {
        1 << self.cell_bits
    }

    /// Cells a histogram.
    pub(crate) const fn all_cells(self) -> usize {
        self.octaves() * self.cells()
    }

    /// The index of a value's cell among all: `place`'s octave times cells plus cell, without a branch.
    #[inline(always)]
    pub(crate) const fn index(self, value: u64) -> usize {
        let value = if value > LARGEST { LARGEST } else { value };
        // The first two octaves have cells of width 1; from there on a cell of an octave is twice as wide as one of the last.
        let shift = (63 - self.cell_bits) - (value | self.cells() as u64).leading_zeros();
        ((shift as usize) << self.cell_bits) + (value >> shift) as usize
    }

    /// Octaves a histogram.
    pub(crate) const fn octaves(self) -> usize {
        (LARGEST_POWER - self.cell_bits + 1) as usize
    }

    /// The octave and the cell within it for a value.
    #[inline(always)]
    pub(crate) const fn place(self, value: u64) -> (usize, usize) {
        let value = if value > LARGEST { LARGEST } else { value };
        if value < self.cells() as u64 {
            return (0, value as usize);
        }
        let exponent = 63 - value.leading_zeros();
        let octave = exponent - self.cell_bits + 1;
        let cell = (value >> (exponent - self.cell_bits)) as usize & (self.cells() - 1);
        (octave as usize, cell)
    }

    /// The smallest value of a cell and its width.
    pub(crate) fn bounds(self, octave: usize, cell: usize) -> (u64, u64) {
        if octave == 0 {
            return (cell as u64, 1);
        }
        let width = 1 << (octave - 1);
        ((self.cells() + cell) as u64 * width, width)
    }

    /// What the values of a cell are reported as.
    pub(crate) fn middle(self, octave: usize, cell: usize) -> u64 {
        let (low, width) = self.bounds(octave, cell);
        low + width / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        #[test]
        fn a_value_lies_in_its_cell_and_near_its_middle(
            value in prop_oneof![0..100_u64, 0..=LARGEST, any::<u64>()],
            scale in prop_oneof![Just(FINE), Just(COARSE)],
        ) {
            let (octave, cell) = scale.place(value);
            prop_assert!(octave < scale.octaves() && cell < scale.cells());
            prop_assert_eq!(scale.index(value), octave * scale.cells() + cell);
            if value <= LARGEST {
                let (low, width) = scale.bounds(octave, cell);
                prop_assert!((low..low + width).contains(&value));
                let error = value as f64 / (2 * scale.cells()) as f64 + 0.5;
                prop_assert!(scale.middle(octave, cell).abs_diff(value) as f64 <= error);
            }
        }
    }

    #[test]
    fn cells_follow_each_other_without_gaps() {
        for scale in [FINE, COARSE] {
            let mut next = 0;
            for octave in 0..scale.octaves() {
                for cell in 0..scale.cells() {
                    let (low, width) = scale.bounds(octave, cell);
                    assert_eq!(low, next);
                    assert_eq!(scale.place(low), (octave, cell));
                    next = low + width;
                }
            }
            assert_eq!(next, LARGEST + 1);
        }
    }
}
