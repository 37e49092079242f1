//! Which queries are timed: one in 2^k of those with a label set, at random, k being set by the governor.
//!
//! The choice is made once, at a query's root (or at the outermost stage of a thread that is in no query), and holds for
//! all stages below, so that self times agree within a query. It is random and not each k-th: a count can fall in step
//! with the workload. Every call is counted in any case; a timed one weighs 2^k.

use std::sync::atomic::{AtomicU8, Ordering};

use super::block::Block;
use super::labels::MAX_SETS;

/// The largest k: one in 65,536.
pub(crate) const SLOWEST: u8 = 16;

/// k by label set; that of set 0 holds for stages outside of any query. Read by all threads, written once a window.
static RATES: [AtomicU8; MAX_SETS] = [const { AtomicU8::new(0) }; MAX_SETS];

/// The weight of the timings to come: 0 if the root that begins is not to be timed.
#[inline(always)]
pub(crate) fn decide(block: &Block, set: u32) -> u32 {
    match get(set) {
        0 => 1,
        k if block.next_random() & ((1 << k) - 1) == 0 => 1 << k,
        _ => 0,
    }
}

#[inline(always)]
pub(crate) fn get(set: u32) -> u8 {
    RATES[set as usize % MAX_SETS].load(Ordering::Relaxed)
}

/// Times one in 2^k of the queries with the label set from now on.
pub(crate) fn set(set: u32, k: u8) {
    RATES[set as usize % MAX_SETS].store(k.min(SLOWEST), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::block::StageFigures;
    use crate::record::clock::Clock;
    use crate::record::guard::{Entered, EnteredQuery, Frame, QueryFrame};
    use crate::record::labels::intern;
    use crate::record::stage::Call;

    #[test]
    fn what_is_timed_stands_for_all_without_bias() {
        const QUERIES: u64 = crate::testing::repetitions(200_000);
        const K: u8 = 5;
        let block = Block::map().unwrap();
        block.adopt(7, None, Clock::get());
        let labels = intern(block, ["rates test", "", "", ""]);
        super::set(labels, K);
        let (root, stage) =
            (Call { stage: 100, timed: true, spans: true }, Call { stage: 101, timed: true, spans: true });
        for _ in 0..QUERIES {
            let mut frame = QueryFrame::new();
            let query = EnteredQuery::new(block, root, labels, &mut frame);
            // Stages of a query are timed if it is, whatever they would have been by themselves.
            for _ in 0..2 {
                let mut frame = Frame::new();
                Entered::new(block, stage, &mut frame).leave(block, stage.stage, &frame, false);
            }
            query.leave(block, root.stage, &frame, false);
        }
        super::set(labels, 0);
        let (mut queries, mut stages) = (StageFigures::default(), StageFigures::default());
        block.read_stage(root.stage, &mut queries);
        block.read_stage(stage.stage, &mut stages);
        assert_eq!(queries.timed + queries.untimed, QUERIES);
        assert_eq!((stages.timed, stages.untimed), (2 * queries.timed, 2 * queries.untimed));
        let weight: u64 = queries.cells.sum();
        assert_eq!(weight, queries.timed << K);
        // Five standard deviations of the estimate: that of a sum of QUERIES draws of chance 1 in 2^K.
        let deviation = (QUERIES as f64 * f64::from(1_u32 << K)).sqrt();
        assert!((weight as f64 - QUERIES as f64).abs() < 5.0 * deviation, "{weight}");
    }
}
