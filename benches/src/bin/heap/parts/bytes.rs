//! What it adds to a stage's enter and leave that its allocated bytes are counted, too.

use std::hint::black_box;

use stagelight_benches::harness::{interleave, per_call};
use stagelight_benches::report::{Bar, Report};

use super::child;

const ROUNDS: usize = 15;
const CALLS: u32 = 5_000_000;

pub fn measure(report: &mut Report) {
    let [with, without] = interleave(
        ROUNDS,
        [
            Box::new(|| child::figure("", &["bytes", "counted"])),
            Box::new(|| child::figure("", &["bytes", "not"])),
        ],
    );
    report.add("bytes-without", "a stage, without its allocated bytes", without.clone(), "ns", Bar::None);
    report.add("bytes", "counting them adds", with.above(&without), "ns", Bar::AtMost(3.0));
}

/// Nanoseconds a call.
pub fn child(counted: bool) -> Vec<f64> {
    if !counted {
        // SAFETY: there is no counter that would have to be valid.
        unsafe { stagelight::__private::set_allocation_counter(|| None) };
    }
    // A thread has a counter or none from its first stage on.
    let ns = std::thread::spawn(|| {
        allocating();
        per_call(CALLS / 10, staged);
        per_call(CALLS, staged)
    });
    let ns = ns.join().unwrap_or(f64::NAN);
    let bytes = stagelight::snapshot().stage("bench.allocating").map_or(0, |stage| stage.alloc_bytes);
    // A figure only if what was to be measured was.
    if (bytes > 0) == counted { vec![ns] } else { Vec::new() }
}

#[stagelight::stage(name = "bench.allocating")]
fn allocating() {
    drop(black_box(Vec::<u8>::with_capacity(1000)));
}

#[inline(never)]
#[stagelight::stage]
fn staged(value: u64) -> u64 {
    black_box(value) + 1
}
