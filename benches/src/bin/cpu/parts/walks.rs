//! What a walk of some forty frames takes in a handler, warm.

use std::hint::black_box;

use stagelight_benches::report::{Bar, Report};

pub fn measure(report: &mut Report) {
    let walks =
        std::thread::spawn(|| stagelight::stage_block!("walks", { deep(32) })).join().unwrap_or_default();
    // The first ones find cold caches.
    let mut ns: Vec<u64> = walks.iter().skip(1_000).map(|walk| walk.0).collect();
    ns.sort_unstable();
    let frames = walks.last().map_or(0, |walk| walk.1);
    let quantile = |q: f64| ns.get((ns.len() as f64 * q) as usize).map_or(f64::NAN, |&ns| ns as f64 / 1e3);
    report.add("walk-frames", "frames of the walk", frames as f64, "", Bar::None);
    report.add("walk-p50", "walk in the handler, median", quantile(0.5), "µs", Bar::AtMost(1.0));
    report.add("walk-p99", "walk in the handler, 99th percentile", quantile(0.99), "µs", Bar::AtMost(5.0));
}

/// A stack of so many frames of different sizes.
#[inline(never)]
fn deep(left: u32) -> Vec<(u64, u64)> {
    let room = black_box([left; 7]);
    let walks = if left == 0 {
        stagelight_profiler::__bench::walks(20_000).unwrap_or_default()
    } else {
        deep(left - 1)
    };
    black_box(room);
    walks
}
