//! What a block holds, read from any thread while its owner goes on: some past state of each word.

use std::sync::atomic::Ordering;

use super::{
    Block, COARSE, FINE, LABEL_ALLOCATED, LABEL_CALLS, LABEL_ERRORS, LABEL_LINES, LABEL_LIVE, LABEL_MAX_NS,
    LABEL_ROWS, LABEL_STAGES, LABEL_TIMED, LABEL_TOTAL_NS, LABEL_WORDS, LINE, MAX_STAGES, SETS_PER_CHUNK,
    Scale,
};

/// Figures of one stage, of one thread or summed over threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageFigures {
    pub(crate) total_ns: u64,
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
    /// Weighted counts on the fine scale, or none at all.
    pub(crate) cells: Vec<u64>,
}

/// Figures of one label set, of one thread or summed over threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelFigures {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) total_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) allocated: u64,
    pub(crate) timed: u64,
    pub(crate) stages: u64,
    pub(crate) rows: u64,
    /// Weighted counts on the coarse scale, or none at all.
    pub(crate) cells: Vec<u64>,
}

impl Block {
    /// Adds this thread's figures of a stage to `sum`. Any thread.
    pub(crate) fn read_stage(&self, stage: u32, sum: &mut StageFigures) {
        let cells = &self.stages[stage as usize % MAX_STAGES];
        for (number, line) in cells.lines.iter().enumerate() {
            self.read_line(line.load(Ordering::Relaxed).into(), number, FINE, &mut sum.cells);
        }
        sum.max_ns = sum.max_ns.max(cells.max_ns.get());
        for (sum, cell) in [
            (&mut sum.total_ns, &cells.total_ns),
            (&mut sum.self_ns, &cells.self_ns),
            (&mut sum.allocated, &cells.allocated),
            (&mut sum.errors, &cells.errors),
            (&mut sum.panics, &cells.panics),
            (&mut sum.timed, &cells.timed),
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
        stages.map(|cells| cells.timed.get().wrapping_add(cells.untimed.get())).sum()
    }

    fn read_line(&self, line: usize, number: usize, scale: Scale, sum: &mut Vec<u64>) {
        let Some(counts) = self.arena.get(line * LINE..(line + 1) * LINE).filter(|_| line != 0) else {
            return;
        };
        sum.resize(scale.all_cells(), 0);
        for (sum, count) in sum[number * LINE..].iter_mut().zip(counts) {
            *sum = sum.wrapping_add(count.get());
        }
    }

    /// Adds this thread's figures of the label sets below `sums.len()`. Any thread.
    pub(crate) fn read_labels(&self, sums: &mut [LabelFigures]) {
        for (sums, start) in sums.chunks_mut(SETS_PER_CHUNK).zip(&self.label_chunks) {
            let start = start.load(Ordering::Relaxed) as usize;
            if start == 0 {
                continue;
            }
            for (sum, words) in sums.iter_mut().zip(self.arena[start..].chunks(LABEL_WORDS)) {
                for (number, line) in words[LABEL_LINES..].iter().enumerate() {
                    self.read_line(line.get() as usize, number, COARSE, &mut sum.cells);
                }
                sum.max_ns = sum.max_ns.max(words[LABEL_MAX_NS].get());
                for (sum, word) in [
                    (&mut sum.calls, LABEL_CALLS),
                    (&mut sum.errors, LABEL_ERRORS),
                    (&mut sum.total_ns, LABEL_TOTAL_NS),
                    (&mut sum.allocated, LABEL_ALLOCATED),
                    (&mut sum.timed, LABEL_TIMED),
                    (&mut sum.stages, LABEL_STAGES),
                    (&mut sum.rows, LABEL_ROWS),
                ] {
                    *sum = sum.wrapping_add(words[word].get());
                }
            }
        }
    }

    /// Adds this thread's part of the async queries under way, by label set. Any thread.
    pub(crate) fn read_live(&self, sums: &mut [u64]) {
        for (sums, start) in sums.chunks_mut(SETS_PER_CHUNK).zip(&self.label_chunks) {
            let start = start.load(Ordering::Relaxed) as usize;
            if start == 0 {
                continue;
            }
            for (sum, words) in sums.iter_mut().zip(self.arena[start..].chunks(LABEL_WORDS)) {
                *sum = sum.wrapping_add(words[LABEL_LIVE].get());
            }
        }
    }
}
