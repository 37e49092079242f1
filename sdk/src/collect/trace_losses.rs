//! How many traces were lost, and for what. Apart from the traces and without a lock, so that a
//! snapshot needs none that a thread may have held when it forked the process.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::block::Block;
use crate::record::cells::Cell64;

/// A trace that was not handed on.
#[derive(Clone, Copy)]
pub(crate) enum Loss {
    Chosen,
    SlowOrFailed,
}

static LOST: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

pub(crate) fn count(loss: Loss) {
    LOST[loss as usize].fetch_add(1, Ordering::Relaxed);
}

/// All that is not in traces or whose traces are lost, by cause.
pub(crate) fn refused(blocks: &[&Block]) -> [(&'static str, u64); 4] {
    let sum = |cell: fn(&Block) -> &Cell64| blocks.iter().map(|block| cell(block).get()).sum::<u64>();
    let lost = |loss: Loss| LOST[loss as usize].load(Ordering::Relaxed);
    [
        ("traces_full", sum(|block| &block.spans.refused.traces) + lost(Loss::SlowOrFailed)),
        ("traces_thinned", sum(|block| &block.spans.refused.thinned) + lost(Loss::Chosen)),
        ("spans_full", sum(|block| &block.spans.refused.notes)),
        ("spans_short", sum(|block| &block.spans.refused.short_spans)),
    ]
}
