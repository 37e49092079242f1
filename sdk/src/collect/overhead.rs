//! What recording costs, estimated on the machine that it runs on.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Duration;

use super::snapshot::Snapshot;
use crate::record::block::Block;
use crate::record::clock::Clock;
use crate::record::guard::{Entered, EnteredQuery};
use crate::record::stage::OTHER;

/// The estimated cost of recording since the process started.
#[derive(Clone, Copy, Debug)]
pub struct Overhead {
    /// One timed stage, in nanoseconds, measured here.
    pub stage_ns: f64,
    /// What a query costs beyond its stage, in nanoseconds, measured here.
    pub labels_ns: f64,
    /// Time spent recording: finished calls times the cost of one.
    pub recording: Duration,
    /// Bytes of memory in blocks and interned labels.
    pub bytes: usize,
}

impl Snapshot {
    /// What recording this cost. The first call measures the prices, which takes about a millisecond.
    #[must_use]
    pub fn overhead(&self) -> Overhead {
        let (stage_ns, labels_ns) = prices();
        let calls: u64 = self.stages.iter().map(|stage| stage.calls).sum();
        let queries: u64 = self.statements.iter().map(|statement| statement.calls).sum();
        let recording_ns = calls as f64 * stage_ns + queries as f64 * labels_ns;
        Overhead {
            stage_ns,
            labels_ns,
            recording: Duration::from_nanos(recording_ns as u64),
            bytes: self.recorder.bytes,
        }
    }
}

/// Nanoseconds of a stage, and of a query beyond its stage, from a scratch block in which nobody else looks.
fn prices() -> (f64, f64) {
    static PRICES: OnceLock<(f64, f64)> = OnceLock::new();
    *PRICES.get_or_init(|| {
        let Some(block) = Block::map() else { return (0.0, 0.0) };
        block.adopt(0, None, Clock::get());
        let stage = price(block, || black_box(Entered::new(block, OTHER, None)).leave(false).ns);
        let labels = ["stagelight calibration", "of average length", "", ""];
        let query = price(block, || {
            EnteredQuery::new(block, OTHER, black_box(labels)).leave(false);
            0
        });
        (stage, (query - stage).max(0.0))
    })
}

/// The median of some rounds.
fn price(block: &Block, mut call: impl FnMut() -> u64) -> f64 {
    const CALLS: u32 = 2_000;
    let mut rounds = [(); 15].map(|()| {
        let start = block.ticks();
        for _ in 0..CALLS {
            black_box(call());
        }
        block.to_ns(block.ticks().saturating_sub(start)) as f64 / f64::from(CALLS)
    });
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}
