//! From 160,000 samples to a flame graph: time, memory, and what is given back.

use std::time::{Duration, Instant};

use stagelight_benches::memory::{self, megabytes};
use stagelight_benches::report::{Bar, Report};

use super::{child, load};

const SAMPLES: u64 = 160_000;

pub fn measure(report: &mut Report) {
    let figures = child::figures("auto", &["svg"]);
    let figure = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
    report.add("svg-samples", "samples of the profile", figure(0), "", Bar::AtLeast(SAMPLES as f64));
    report.add("svg-stacks", "its size as folded stacks", figure(4), "kB", Bar::None);
    report.add("svg-seconds", "from the end of sampling to SVG, cold", figure(1), "s", Bar::AtMost(2.0));
    report.add("svg-mb", "memory that this takes at most", figure(2), "MB", Bar::AtMost(40.0));
    report.add("svg-kept-mb", "of it kept after ten seconds", figure(3), "MB", Bar::AtMost(2.0));
}

/// Samples, seconds, megabytes at the peak and kept, kilobytes of folded stacks.
pub fn child() -> Vec<f64> {
    let Ok(session) = stagelight_profiler::cpu().hz(4999).start() else { return Vec::new() };
    // Two cores at 4,999 Hz, and as long as it takes where there is but one.
    let mut taken = Duration::ZERO;
    let second = Duration::from_secs(2);
    while taken < Duration::from_secs(17) {
        std::thread::scope(|scope| {
            (0..2).for_each(|_| drop(scope.spawn(|| load::query(second))));
        });
        taken += second;
    }
    let before = megabytes("VmRSS");
    memory::forget_peak();
    let start = Instant::now();
    let Ok(profile) = session.stop() else { return Vec::new() };
    let mut svg = Vec::new();
    let _ = profile.write_flamegraph(&mut svg);
    let seconds = start.elapsed().as_secs_f64();
    let peak = megabytes("VmHWM") - before;
    let samples = profile.stats().samples as f64;
    let mut folded = Vec::new();
    let _ = profile.write_folded(&mut folded);
    let folded_kb = folded.len() as f64 / 1e3;
    drop((profile, svg, folded));
    memory::settle();
    vec![samples, seconds, peak, (megabytes("VmRSS") - before).max(0.0), folded_kb]
}
