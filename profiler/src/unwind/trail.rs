//! The way that the last walk took, so that the next one need not find it again: most of a stack is as it was.
//!
//! What a step of a walk comes to is settled by the registers that it starts from, the words of the stack that it reads, and the
//! tables. So where a walk comes to a place of the last one with the same registers, and all words that the last one read from
//! there on are still what they were, it goes the same way, and need not unwind. To compare a word takes a nanosecond, to unwind a
//! frame some twenty.

use super::stack::StackReader;

/// Frames that are remembered. Of a deeper stack none are.
pub(super) const STEPS: usize = 128;

/// Words that a step may read: the return address and a saved register, as a rule.
const READS: usize = 3;

/// One frame of a walk, and what led on from it.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Where the frame is, to look up.
    pub(super) lookup: u64,
    sp: u64,
    bp: u64,
    /// Addresses and what they held.
    words: [(u64, u64); READS],
    /// How many there are; more than fit if they can't be told.
    count: usize,
}

impl Step {
    const NONE: Self = Self { lookup: 0, sp: 0, bp: 0, words: [(0, 0); READS], count: 0 };

    pub(super) fn new(lookup: u64, sp: u64, bp: u64) -> Self {
        Self { lookup, sp, bp, ..Self::NONE }
    }

    /// Notes a word that was read, or that it could not be.
    pub(super) fn note(&mut self, address: u64, word: Result<u64, ()>) {
        match (self.words.get_mut(self.count), word) {
            (Some(place), Ok(word)) => {
                *place = (address, word);
                self.count += 1;
            }
            _ => self.count = READS + 1,
        }
    }

    fn is_whole(&self) -> bool {
        self.count <= READS
    }
}

/// The steps of one walk. Fixed in size, as handlers can't allocate.
pub(super) struct Steps {
    steps: [Step; STEPS],
    len: usize,
}

impl Steps {
    pub(super) const fn new() -> Self {
        Self { steps: [Step::NONE; STEPS], len: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds one; beyond the last there are none any more.
    pub(super) fn push(&mut self, step: Step) {
        if let Some(place) = self.steps.get_mut(self.len) {
            *place = step;
        }
        self.len += 1;
    }

    fn as_slice(&self) -> &[Step] {
        self.steps.get(..self.len).unwrap_or(&[])
    }
}

/// The last walk that came to a thread's start, outermost frame first.
pub(super) struct Trail {
    steps: Steps,
    /// Of the tables that it was found by.
    tables: u64,
}

impl Trail {
    pub(super) const fn new() -> Self {
        Self { steps: Steps::new(), tables: 0 }
    }

    /// Forgets what was found by other tables.
    pub(super) fn begin(&mut self, tables: u64) {
        if self.tables != tables {
            (self.steps.len, self.tables) = (0, tables);
        }
    }

    /// How many of its frames a walk has yet to come to that is at its beginning.
    pub(super) fn len(&self) -> usize {
        self.steps.len
    }

    /// The frames further out, outermost first, if from here on a walk goes the same way. `ahead` is how many of its frames the
    /// walk had yet to come to, and is so afterwards.
    pub(super) fn join(&self, ahead: &mut usize, at: &Step, stack: &mut StackReader<'_>) -> Option<&[Step]> {
        let steps = self.steps.as_slice();
        while steps[..*ahead].last().is_some_and(|step| step.sp < at.sp) {
            *ahead -= 1;
        }
        let (here, outer) = steps[..*ahead].split_last()?;
        if (here.lookup, here.sp, here.bp) != (at.lookup, at.sp, at.bp) {
            return None;
        }
        let mut words = steps[..*ahead].iter().rev().flat_map(|step| &step.words[..step.count]);
        let as_before = words.all(|&(address, word)| stack.read(address) == Ok(word));
        as_before.then_some(outer)
    }

    /// Remembers a walk that came to the thread's start: by itself, or where it had joined this one, of which `joined` frames hold.
    pub(super) fn remember(&mut self, joined: usize, fresh: &Steps) {
        self.steps.len = joined;
        if fresh.len + joined <= STEPS {
            // Further in than a step that can't be told nothing holds.
            let told = fresh.as_slice().iter().rev().take_while(|step| step.is_whole());
            told.for_each(|step| self.steps.push(*step));
        }
    }
}
