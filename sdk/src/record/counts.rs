//! The counts of a histogram's cells as a reader holds them.
//!
//! A histogram has hundreds of cells and values in a few places, and a reader holds one for each
//! stage and label: so only lines of cells that have any are there.

use super::lines::LINE;

/// Lines by number, the lowest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Vec<(u16, [u64; LINE])>);

impl Counts {
    /// A line, to add to. It is looked for from the place `from` on, where none before it lies, and
    /// its place noted there.
    #[inline]
    pub(crate) fn line(&mut self, number: usize, from: &mut usize) -> &mut [u64; LINE] {
        let number = number as u16;
        while self.0.get(*from).is_some_and(|(there, _)| *there < number) {
            *from += 1;
        }
        if self.0.get(*from).is_none_or(|(there, _)| *there != number) {
            self.insert(*from, number);
        }
        &mut self.0[*from].1
    }

    #[inline(never)]
    fn insert(&mut self, at: usize, number: u16) {
        self.0.insert(at, (number, [0; LINE]));
    }

    /// The count of a cell, to add to.
    pub(crate) fn cell(&mut self, index: usize) -> &mut u64 {
        &mut self.line(index / LINE, &mut 0)[index % LINE]
    }

    /// The cells that have any, the lowest first, each with its count.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> + '_ {
        let cells = self.0.iter().flat_map(|(number, counts)| {
            let first = usize::from(*number) * LINE;
            counts.iter().enumerate().map(move |(index, count)| (first + index, *count))
        });
        cells.filter(|(_, count)| *count != 0)
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().flat_map(|(_, counts)| counts).fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Makes room for so many lines, if there are none.
    #[inline]
    pub(crate) fn expect(&mut self, lines: usize) {
        if self.0.capacity() == 0 {
            self.0.reserve_exact(lines);
        }
    }

    /// As [`add`](Self::add), without a copy where there are none yet.
    pub(crate) fn take_in(&mut self, other: Counts) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.add(&other);
        }
    }

    /// Counters wrap, as they do in the blocks.
    pub(crate) fn add(&mut self, other: &Counts) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        let mut from = 0;
        for (number, counts) in &other.0 {
            for (sum, count) in self.line(usize::from(*number), &mut from).iter_mut().zip(counts) {
                *sum = sum.wrapping_add(*count);
            }
        }
    }

    /// What came after an earlier state; `less` takes a count of that from one of this.
    pub(crate) fn since(&self, earlier: &Counts, less: impl Fn(u64, u64) -> u64) -> Counts {
        let mut before = earlier.0.iter().peekable();
        let mut since = Vec::with_capacity(self.0.len());
        for (number, counts) in &self.0 {
            let mut counts = *counts;
            while before.next_if(|(earlier, _)| earlier < number).is_some() {}
            if let Some((_, before)) = before.next_if(|(earlier, _)| earlier == number) {
                for (count, before) in counts.iter_mut().zip(before) {
                    *count = less(*count, *before);
                }
            }
            if counts != [0; LINE] {
                since.push((*number, counts));
            }
        }
        Counts(since)
    }
}

impl PartialEq for Counts {
    /// A line without counts is as good as none.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Counts {}

impl FromIterator<(usize, u64)> for Counts {
    fn from_iter<T: IntoIterator<Item = (usize, u64)>>(cells: T) -> Self {
        let mut counts = Self::default();
        for (index, count) in cells {
            *counts.cell(index) += count;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CELLS: usize = 10 * LINE;

    fn dense(counts: &Counts) -> Vec<u64> {
        let mut dense = vec![0; CELLS];
        counts.iter().for_each(|(index, count)| dense[index] = count);
        dense
    }

    proptest! {
        #![proptest_config(crate::testing::cases(128))]
        #[test]
        fn they_count_as_an_array_does(
            one in prop::collection::vec((0..CELLS, 0..5_u64), 0..40),
            more in prop::collection::vec((0..CELLS, 0..5_u64), 0..40),
        ) {
            let (before, added): (Counts, Counts) = (one.iter().copied().collect(), more.iter().copied().collect());
            let mut after = before.clone();
            after.add(&added);
            let mut expected = vec![0; CELLS];
            one.iter().chain(&more).for_each(|(index, count)| expected[*index] += count);
            prop_assert_eq!(dense(&after), expected.clone());
            prop_assert_eq!(after.sum(), expected.iter().sum::<u64>());
            prop_assert_eq!(after.since(&before, u64::wrapping_sub), added.clone());
            prop_assert_eq!(before.since(&after, u64::saturating_sub), Counts::default());
            prop_assert_eq!(after == before, added == Counts::default());
        }
    }
}
