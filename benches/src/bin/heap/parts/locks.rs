//! An uncontended lock and unlock beside `parking_lot`'s, while nobody records and while somebody does.

use stagelight::query;
use stagelight_benches::harness::{Series, interleave, per_call};
use stagelight_benches::report::{Bar, Report};
use stagelight_profiler::locks;

const ROUNDS: usize = 25;
const CALLS: u32 = 2_000_000;

pub fn measure(report: &mut Report) {
    let [theirs, off] = in_query();
    let Ok(session) = locks().start() else { return };
    let [theirs_then, on] = in_query();
    let waits = session.stop().map_or(f64::NAN, |profiles| profiles.block.stats().samples as f64);
    report.add("lock-parking-lot", "parking_lot, lock and unlock", theirs.clone(), "ns", Bar::None);
    let what = "the profiled mutex takes more, while nobody records";
    report.add("lock-off", what, off.above(&theirs), "ns", Bar::AtMost(2.0));
    report.add("lock-on", "while locks are profiled", on.above(&theirs_then), "ns", Bar::AtMost(6.0));
    report.add("lock-waits", "waits that were recorded meanwhile", waits, "", Bar::AtMost(0.0));
}

/// In a query, as what records notes its labels.
#[query(key = "bench", tenant = "acme")]
fn in_query() -> [Series; 2] {
    let (theirs, ours) = (parking_lot::Mutex::new(0_u64), stagelight_profiler::lock::Mutex::new(0_u64));
    interleave(
        ROUNDS,
        [
            Box::new(|| {
                per_call(CALLS, |value| {
                    let mut sum = theirs.lock();
                    *sum += value;
                    *sum
                })
            }),
            Box::new(|| {
                per_call(CALLS, |value| {
                    let mut sum = ours.lock();
                    *sum += value;
                    *sum
                })
            }),
        ],
    )
}
