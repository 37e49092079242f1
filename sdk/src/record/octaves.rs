//! The arithmetic of the log-linear histogram: which cell a value falls into and what a cell stands for.
//!
//! An octave holds the values of one power of two in [`CELLS`] cells of equal width. A cell reports its
//! middle, so a value is off by at most half a cell, 1/64 = 1.6 %, which is what cells of half that width
//! that report their edge would give for twice the memory. The first octave is exact.

/// Cells an octave.
pub(crate) const CELLS: usize = 32;
const CELL_BITS: u32 = CELLS.trailing_zeros();

/// Octaves a histogram: values up to 2^43 ns, two and a half hours. What is longer counts in the last cell.
pub(crate) const OCTAVES: usize = 39;

const LARGEST: u64 = (1 << (OCTAVES as u32 - 1 + CELL_BITS)) - 1;

/// The octave and the cell within it for a value.
#[inline(always)]
pub(crate) fn place(value: u64) -> (usize, usize) {
    let value = value.min(LARGEST);
    if value < CELLS as u64 {
        return (0, value as usize);
    }
    let exponent = 63 - value.leading_zeros();
    let octave = exponent - CELL_BITS + 1;
    let cell = (value >> (exponent - CELL_BITS)) as usize & (CELLS - 1);
    (octave as usize, cell)
}

/// The smallest value of a cell and its width.
pub(crate) fn bounds(octave: usize, cell: usize) -> (u64, u64) {
    if octave == 0 {
        return (cell as u64, 1);
    }
    let width = 1 << (octave - 1);
    ((CELLS + cell) as u64 * width, width)
}

/// What the values of a cell are reported as.
pub(crate) fn middle(octave: usize, cell: usize) -> u64 {
    let (low, width) = bounds(octave, cell);
    low + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_cell_and_near_its_middle(value in prop_oneof![0..100_u64, 0..=LARGEST, any::<u64>()]) {
            let (octave, cell) = place(value);
            prop_assert!(octave < OCTAVES && cell < CELLS);
            if value <= LARGEST {
                let (low, width) = bounds(octave, cell);
                prop_assert!((low..low + width).contains(&value));
                prop_assert!(middle(octave, cell).abs_diff(value) as f64 <= value as f64 / 64.0 + 0.5);
            }
        }
    }

    #[test]
    fn cells_follow_each_other_without_gaps() {
        let mut next = 0;
        for octave in 0..OCTAVES {
            for cell in 0..CELLS {
                let (low, width) = bounds(octave, cell);
                assert_eq!(low, next);
                assert_eq!(place(low), (octave, cell));
                next = low + width;
            }
        }
        assert_eq!(next, LARGEST + 1);
    }
}
