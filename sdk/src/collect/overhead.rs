//! What recording costs, estimated on the machine that it runs on.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Duration;

use super::snapshot::Snapshot;
use crate::record::block::Block;
use crate::record::clock::Clock;
use crate::record::guard::{Entered, EnteredQuery, Frame, QueryFrame};
use crate::record::interner;
use crate::record::labels::{KINDS, intern, label_set};
use crate::record::stage::{Call, OTHER};

/// The estimated cost of recording since the process started.
#[derive(Clone, Copy, Debug)]
pub struct Overhead {
    /// The prices that it was reckoned with.
    pub prices: Prices,
    /// Time spent recording: finished calls times their price.
    pub recording: Duration,
    /// Bytes of memory in blocks and interned labels.
    pub bytes: usize,
}

/// What recording costs on this machine, in nanoseconds a call, measured with warm caches.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    /// A stage that is timed.
    pub timed: f64,
    /// A stage that is only counted.
    pub counted: f64,
    /// What a query costs beyond its stage.
    pub labels: f64,
}

impl Snapshot {
    /// What recording this cost. The first call measures the prices, which takes some milliseconds.
    #[must_use]
    pub fn overhead(&self) -> Overhead {
        let prices = prices();
        let timed: u64 = self.stages.iter().map(|stage| stage.timed).sum();
        let calls: u64 = self.stages.iter().map(|stage| stage.calls).sum();
        let queries: u64 = self.statements.iter().map(|statement| statement.calls).sum();
        let recording_ns = timed as f64 * prices.timed
            + calls.saturating_sub(timed) as f64 * prices.counted
            + queries as f64 * prices.labels;
        Overhead { prices, recording: Duration::from_nanos(recording_ns as u64), bytes: self.recorder.bytes }
    }
}

/// The prices, measured once, in a scratch block in which nobody else looks.
pub(crate) fn prices() -> Prices {
    static PRICES: OnceLock<Prices> = OnceLock::new();
    *PRICES.get_or_init(|| {
        let Some(block) = Block::map() else { return Prices { timed: 0.0, counted: 0.0, labels: 0.0 } };
        block.adopt(0, None, Clock::get());
        let call = Call { stage: OTHER, timed: true, spans: true };
        // Within a root, as nearly all stages are, so that nothing is decided for each.
        block.set_depth(1);
        block.set_weight(1);
        let stage = || {
            let mut frame = Frame::new();
            black_box(Entered::new(block, call, &mut frame)).leave(block, call.stage, &frame, false);
        };
        let timed = price(block, stage);
        block.set_weight(0);
        let counted = price(block, stage);
        // Those of a query, if there was one: labels of our own could come as heavy newcomers and
        // take another's entry.
        let mut sets = (0..interner::count() as u32).map(|number| label_set(number).values);
        let told_apart = |values: &[&str; KINDS]| {
            values.iter().any(|value| !value.is_empty()) && !values.contains(&interner::OTHER)
        };
        let labels = sets.find(told_apart).unwrap_or(["stagelight calibration", "of average length", "", ""]);
        let query = price(block, || {
            let mut frame = QueryFrame::new();
            let set = intern(block, black_box(labels));
            EnteredQuery::new(block, call, set, &mut frame).leave(block, call.stage, &frame, false);
        });
        Prices { timed, counted, labels: (query - timed).max(0.0) }
    })
}

/// The median of some rounds.
fn price(block: &Block, mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 2_000;
    let mut rounds = [(); 15].map(|()| {
        let start = block.ticks();
        for _ in 0..CALLS {
            call();
        }
        block.to_ns(block.ticks().saturating_sub(start)) as f64 / f64::from(CALLS)
    });
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}
