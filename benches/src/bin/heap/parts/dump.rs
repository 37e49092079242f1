//! Many different stacks to labelled pprof: time, memory, and what is given back.

use std::hint::black_box;
use std::time::Instant;

use stagelight::query;
use stagelight_benches::harness::Series;
use stagelight_benches::memory::{self, megabytes};
use stagelight_benches::report::{Bar, Report};

use super::child;

pub fn measure(report: &mut Report) {
    let runs: Vec<Vec<f64>> = (0..3).map(|_| child::figures("", &["dump"])).collect();
    let figure = |index: usize| Series::new(runs.iter().filter_map(|run| run.get(index).copied()).collect());
    let what = "different stacks and labels of a profile";
    report.add("dump-stacks", what, figure(0), "", Bar::AtLeast(10_000.0));
    report.add("dump-ms", "it to labelled pprof, cold", figure(1), "ms", Bar::AtMost(100.0));
    report.add("dump-mb", "memory that this takes at most", figure(2), "MB", Bar::AtMost(20.0));
    report.add("dump-kept-mb", "of it kept after ten seconds", figure(3), "MB", Bar::AtMost(2.0));
}

/// Different stacks and labels, milliseconds to pprof, megabytes at the peak and kept.
pub fn child() -> Vec<f64> {
    if stagelight_profiler::sample_heap(Some(14)).is_err() {
        return Vec::new();
    }
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for tenant in 0..27_u32 {
        labelled(tenant, &mut kept);
    }
    let before = megabytes("VmRSS");
    memory::forget_peak();
    let start = Instant::now();
    let Ok(profile) = stagelight_profiler::heap().run() else { return Vec::new() };
    let mut pprof = Vec::new();
    let _ = profile.write_pprof(&mut pprof);
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let peak = megabytes("VmHWM") - before;
    let mut folded = Vec::new();
    let _ = profile.by_label("tenant").write_folded(&mut folded);
    let stacks = folded.iter().filter(|&&byte| byte == b'\n').count();
    drop((profile, pprof, folded));
    memory::settle();
    let after = (megabytes("VmRSS") - before).max(0.0);
    drop(kept);
    vec![stacks as f64, ms, peak, after]
}

#[query(key = "stacks", tenant = tenant)]
fn labelled(tenant: u32, kept: &mut Vec<Vec<u8>>) {
    // Each of the 2^9 ways of going left or right nine times is a stack of its own.
    (0..1_u32 << 9).for_each(|path| way(path, 9, kept));
}

#[inline(never)]
fn way(path: u32, left: u32, kept: &mut Vec<Vec<u8>>) {
    match (left, path & 1) {
        // Sampled three times in four.
        (0, _) => kept.push(black_box(Vec::with_capacity(24 << 10))),
        (_, 0) => left_turn(path >> 1, left - 1, kept),
        _ => right_turn(path >> 1, left - 1, kept),
    }
    black_box(());
}

#[inline(never)]
fn left_turn(path: u32, left: u32, kept: &mut Vec<Vec<u8>>) {
    way(path, left, kept);
    // Functions that are alike are made one.
    black_box("left");
}

#[inline(never)]
fn right_turn(path: u32, left: u32, kept: &mut Vec<Vec<u8>>) {
    way(path, left, kept);
    black_box("right");
}
