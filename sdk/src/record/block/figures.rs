//! What a block holds, read from any thread while its owner goes on: some past state of each word.

use std::sync::atomic::Ordering;

use crate::record::counts::Counts;

use super::{Block, COARSE, Cell64, FINE, LabelCells, MAX_STAGES, SETS_PER_CHUNK};

/// So many stages or label sets before it reads one, a reader has its counts brought.
const AHEAD: usize = 2;

/// Figures of one stage, of one thread or summed over threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageFigures {
    pub(crate) total_ns: u64,
    /// Of calls within others of the stage, which the total leaves out.
    pub(crate) inner_ns: u64,
    pub(crate) self_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) allocated: u64,
    pub(crate) errors: u64,
    pub(crate) panics: u64,
    pub(crate) timed: u64,
    pub(crate) untimed: u64,
    pub(crate) polls: u64,
    pub(crate) awaiting_ns: u64,
    pub(crate) cancelled: u64,
    /// Weighted counts on the fine scale.
    pub(crate) cells: Counts,
}

/// Figures of one label set, of one thread or summed over threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelFigures {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    /// Without that of queries nested in them, and that.
    pub(crate) self_ns: u64,
    pub(crate) nested_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) allocated: u64,
    pub(crate) timed: u64,
    pub(crate) stages: u64,
    pub(crate) rows: u64,
    /// Weighted counts on the coarse scale.
    pub(crate) cells: Counts,
}

/// How many queries a label set had, how many of them were timed, and how many stages these went
/// through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LabelCounts {
    pub(crate) queries: u64,
    pub(crate) timed: u64,
    pub(crate) stages: u64,
}

impl Block {
    /// Adds this thread's figures of the stages from the first on. Any thread.
    pub(crate) fn read_stages(&self, sums: &mut [StageFigures]) {
        for (index, sum) in sums.iter_mut().enumerate() {
            // The cells come one after the other, which the processor foresees; their counts lie
            // anywhere.
            let cells = &self.stages[(index + 1 + AHEAD) % MAX_STAGES];
            cells.durations.prefetch(&self.lines);
            self.read_stage(index as u32 + 1, sum);
        }
    }

    /// Adds this thread's figures of a stage to `sum`. Any thread.
    pub(crate) fn read_stage(&self, stage: u32, sum: &mut StageFigures) {
        let cells = &self.stages[stage as usize % MAX_STAGES];
        let timed = cells.durations.timed();
        cells.durations.read(FINE, &self.lines, &mut sum.cells);
        sum.timed = sum.timed.wrapping_add(timed);
        sum.max_ns = sum.max_ns.max(cells.durations.max_ns());
        for (sum, cell) in [
            (&mut sum.total_ns, &cells.total_ns),
            (&mut sum.inner_ns, &self.recursion.inner_ns[stage as usize % MAX_STAGES]),
            (&mut sum.self_ns, &cells.self_ns),
            (&mut sum.allocated, &cells.allocated),
            (&mut sum.errors, &cells.errors),
            (&mut sum.panics, &cells.panics),
            (&mut sum.untimed, &cells.untimed),
            (&mut sum.polls, &cells.polls),
            (&mut sum.awaiting_ns, &cells.awaiting_ns),
            (&mut sum.cancelled, &cells.cancelled),
        ] {
            *sum = sum.wrapping_add(cell.get());
        }
    }

    /// Finished calls of the stages up to that number. Any thread.
    pub(crate) fn stage_calls(&self, stages: u32) -> u64 {
        let stages = self.stages.iter().take(stages as usize + 1);
        stages.map(|cells| cells.durations.timed().wrapping_add(cells.untimed.get())).sum()
    }

    /// Where the figures of the label sets below `sums` stand, for those that have any.
    fn label_chunks<'a, T>(
        &'a self,
        sums: &'a mut [T],
    ) -> impl Iterator<Item = (&'a mut T, (&'a LabelCells, &'a Cell64))> + 'a {
        let chunks = sums.chunks_mut(SETS_PER_CHUNK).zip(&self.label_chunks);
        chunks
            .filter_map(|(sums, chunk)| {
                let chunk = usize::from(chunk.load(Ordering::Relaxed)).wrapping_sub(1);
                let cells = self.label_cells.get(chunk)?.iter().zip(self.label_nested.get(chunk)?);
                Some(sums.iter_mut().zip(cells))
            })
            .flatten()
    }

    /// The figures of all label sets that have any, in their order.
    fn label_chunks_all(&self) -> impl Iterator<Item = &LabelCells> {
        let chunks = self.label_chunks.iter().filter_map(|chunk| {
            self.label_cells.get(usize::from(chunk.load(Ordering::Relaxed)).wrapping_sub(1))
        });
        chunks.flatten()
    }

    /// Adds this thread's figures of the label sets below `sums.len()`. Any thread.
    pub(crate) fn read_labels(&self, sums: &mut [LabelFigures]) {
        let mut ahead = self.label_chunks_all().skip(AHEAD);
        for (sum, (cells, nested)) in self.label_chunks(sums) {
            if let Some(cells) = ahead.next() {
                cells.durations.prefetch(&self.lines);
            }
            let timed = cells.durations.timed();
            cells.durations.read(COARSE, &self.lines, &mut sum.cells);
            sum.timed = sum.timed.wrapping_add(timed);
            sum.max_ns = sum.max_ns.max(cells.durations.max_ns());
            for (sum, cell) in [
                (&mut sum.calls, &cells.calls),
                (&mut sum.errors, &cells.errors),
                (&mut sum.self_ns, &cells.self_ns),
                (&mut sum.nested_ns, nested),
                (&mut sum.allocated, &cells.allocated),
                (&mut sum.stages, &cells.stages),
                (&mut sum.rows, &cells.rows),
            ] {
                *sum = sum.wrapping_add(cell.get());
            }
        }
    }

    /// Adds this thread's counts of the label sets below `sums.len()`, which costs less than all
    /// figures. Any thread.
    pub(crate) fn count_labels(&self, sums: &mut [LabelCounts]) {
        for (sum, (cells, _)) in self.label_chunks(sums) {
            sum.queries = sum.queries.wrapping_add(cells.calls.get());
            sum.timed = sum.timed.wrapping_add(cells.durations.timed());
            sum.stages = sum.stages.wrapping_add(cells.stages.get());
        }
    }

    /// Async queries that began on this thread less those that ended on it. Any thread.
    pub(crate) fn all_live(&self) -> u64 {
        self.live.get()
    }

    /// Adds this thread's part of the async queries under way, by label set. Any thread.
    pub(crate) fn read_live(&self, sums: &mut [u64]) {
        for (sum, (cells, _)) in self.label_chunks(sums) {
            *sum = sum.wrapping_add(cells.live.get());
        }
    }
}
