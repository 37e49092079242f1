//! Recursion: whether a stage that is entered is on the thread's path already.
//!
//! The inner levels of a recursive stage lie within the outermost one. So its total time, its bytes
//! and its awaiting time count there alone: ten levels around one wait take as long as the wait.
//! Each level is a call all the same, and its duration stands in the histogram.
//!
//! # Why this is right, whatever ends a call
//! A thread that enters a stage notes the stage's place on the path. An inner level finds the note,
//! and finds the stage in that place of the path. A note need not be taken back. A note that a call
//! left behind, however the call ended, leads to a place beyond the path's end, or to a place that
//! has another stage; or the same stage stands there again, and then the note is true again. Beyond
//! the stages that the path names there is no such proof, and notes are taken back.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{Block, Cell64, FINE, MAX_STAGES, PATH, Timing};

/// How a call lies to others of its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nesting {
    /// In none.
    Outermost,
    /// In none, and deeper than the path names stages.
    Deep,
    /// Within another one.
    Inner,
}

/// Where on the path each stage was entered last, plus 1.
#[repr(C)]
pub(super) struct Places([AtomicU8; MAX_STAGES]);

const _: () = assert!(PATH < u8::MAX as usize);

/// What only recursive and deep stages touch: it takes no memory until then.
#[repr(C)]
pub(super) struct Recursion {
    /// Whether a stage was entered deeper than the path names.
    deep: [AtomicU8; MAX_STAGES],
    /// What inner levels took, weighted.
    pub(super) inner_ns: [Cell64; MAX_STAGES],
}

impl Block {
    /// Owner only: a stage is entered while the path is `depth` deep. To be [left](Self::unnest) by
    /// the same thread.
    #[inline(always)]
    pub(crate) fn nest(&self, depth: u32, stage: u32) -> Nesting {
        // As a rule it was entered last from outside of itself in this very place.
        if u32::from(self.places.0[stage as usize % MAX_STAGES].load(Ordering::Relaxed)) == depth + 1 {
            return Nesting::Outermost;
        }
        self.nest_elsewhere(depth, stage)
    }

    #[inline(never)]
    fn nest_elsewhere(&self, depth: u32, stage: u32) -> Nesting {
        let note = &self.places.0[stage as usize % MAX_STAGES];
        let place = u32::from(note.load(Ordering::Relaxed)).wrapping_sub(1);
        if place < depth && self.path[place as usize % PATH].load(Ordering::Relaxed) == stage {
            return Nesting::Inner;
        }
        if depth as usize >= PATH {
            return self.nest_deep(stage);
        }
        note.store(depth as u8 + 1, Ordering::Relaxed);
        Nesting::Outermost
    }

    #[cold]
    #[inline(never)]
    fn nest_deep(&self, stage: u32) -> Nesting {
        let deep = &self.recursion.deep[stage as usize % MAX_STAGES];
        if deep.load(Ordering::Relaxed) != 0 {
            return Nesting::Inner;
        }
        deep.store(1, Ordering::Relaxed);
        Nesting::Deep
    }

    /// Owner only.
    #[inline(always)]
    pub(crate) fn unnest(&self, nesting: Nesting, stage: u32) {
        if nesting == Nesting::Deep {
            self.recursion.deep[stage as usize % MAX_STAGES].store(0, Ordering::Relaxed);
        }
    }

    /// Owner only: these stages, which run elsewhere, are about to be the path. What is entered
    /// within them runs beside them and counts for itself, but for those that the thread is in by
    /// itself, in the same place.
    pub(crate) fn forget_places(&self, path: &[u16]) {
        let depth = self.depth() as usize;
        for (place, &stage) in path.iter().enumerate() {
            let is_there = place < depth && self.path[place].load(Ordering::Relaxed) == u32::from(stage);
            let note = &self.places.0[usize::from(stage) % MAX_STAGES];
            if !is_there && usize::from(note.load(Ordering::Relaxed)) == place + 1 {
                note.store(0, Ordering::Relaxed);
            }
        }
    }

    /// What was entered and not left on this block is left.
    pub(super) fn forget_deep(&self) {
        if self.depth() as usize > PATH {
            self.recursion.deep.iter().for_each(|deep| deep.store(0, Ordering::Relaxed));
        }
    }

    /// Owner only: counts one finished call that was timed, whatever others of its stage it lies
    /// in.
    #[cold]
    #[inline(never)]
    pub(crate) fn record_nested(
        &self,
        nesting: Nesting,
        stage: u32,
        failed: bool,
        allocated: u64,
        timing: Timing,
    ) {
        self.unnest(nesting, stage);
        if nesting != Nesting::Inner {
            return self.record_stage(stage, failed, allocated, timing);
        }
        let cells = &self.stages[stage as usize % MAX_STAGES];
        let Timing { ns, own_ns, weight } = timing;
        cells.errors.add(u64::from(failed));
        cells.self_ns.add(own_ns.wrapping_mul(u64::from(weight)));
        self.recursion.inner_ns[stage as usize % MAX_STAGES].add(ns.wrapping_mul(u64::from(weight)));
        cells.durations.record(FINE, &self.lines, ns, weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_inner_while_it_is_on_the_path() {
        let block = Block::map().unwrap();
        let enter = |depth, stage| {
            block.push(depth, stage);
            block.nest(depth, stage)
        };
        assert_eq!(
            [enter(0, 7), enter(1, 8), enter(2, 7), enter(3, 7)].map(inner),
            [false, false, true, true]
        );
        // The path is given up in whatever way, and the notes stay.
        assert_eq!([enter(0, 8), enter(1, 7), enter(2, 7)].map(inner), [false, false, true]);
        assert_eq!(
            [enter(0, 9), enter(1, 8), enter(2, 9), enter(3, 8)].map(inner),
            [false, false, true, true]
        );
    }

    #[test]
    fn deeper_than_the_path_names_it_is_inner_too() {
        let block = Block::map().unwrap();
        for depth in 0..PATH as u32 {
            block.push(depth, 5);
        }
        let deep = PATH as u32;
        for _ in 0..2 {
            assert_eq!(block.nest(deep, 7), Nesting::Deep);
            assert_eq!(block.nest(deep + 1, 7), Nesting::Inner);
            block.unnest(Nesting::Inner, 7);
            block.unnest(Nesting::Deep, 7);
        }
    }

    fn inner(nesting: Nesting) -> bool {
        nesting == Nesting::Inner
    }
}
