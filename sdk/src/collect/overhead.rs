//! What recording costs, estimated on the machine that it runs on.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Duration;

use super::snapshot::Snapshot;
use crate::record::block::Block;
use crate::record::clock::Clock;
use crate::record::guard::Entered;
use crate::record::stage::OTHER;

/// The estimated cost of recording since the process started.
#[derive(Clone, Copy, Debug)]
pub struct Overhead {
    /// One timed stage, in nanoseconds, measured here.
    pub stage_ns: f64,
    /// Time spent recording: finished stage calls times the cost of one.
    pub recording: Duration,
    /// Bytes of memory in blocks and interned labels.
    pub bytes: usize,
}

impl Snapshot {
    /// What recording this cost. The first call measures a stage's price, which takes about a millisecond.
    #[must_use]
    pub fn overhead(&self) -> Overhead {
        let stage_ns = stage_cost_ns();
        let calls: u64 = self.stages.iter().map(|stage| stage.calls).sum();
        Overhead {
            stage_ns,
            recording: Duration::from_nanos((calls as f64 * stage_ns) as u64),
            bytes: self.recorder.bytes,
        }
    }
}

/// Nanoseconds of one stage, from a scratch block in which nobody else looks: the median of some rounds.
fn stage_cost_ns() -> f64 {
    static COST: OnceLock<f64> = OnceLock::new();
    *COST.get_or_init(|| {
        const CALLS: u32 = 2_000;
        let Some(block) = Block::map() else { return 0.0 };
        block.adopt(0, None, Clock::get());
        let mut rounds = [(); 15].map(|()| {
            let start = block.ticks();
            for _ in 0..CALLS {
                black_box(Entered::new(block, OTHER, None)).leave(false);
            }
            block.to_ns(block.ticks() - start) as f64 / f64::from(CALLS)
        });
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    })
}
