//! What sampling costs a pair of allocation and release. W1: 64 bytes at a time; W2: 16 to 4,095 bytes, log-uniform, in a ring of
//! 4,096, at a depth of 24 calls.

use std::hint::black_box;

use stagelight::query;
use stagelight_benches::cpu_time::thread_ns;
use stagelight_benches::harness::{Series, Variant, interleave};
use stagelight_benches::report::{Bar, Report};
use stagelight_benches::sizes::{RING, log_uniform};

use super::child;

const ROUNDS: usize = 9;
const PAIRS: u32 = 3_000_000;

/// What jemalloc's start is told, and what the program switches then.
const VARIANTS: [(&str, &str); 4] = [("prof:false", ""), ("", "none"), ("", "19"), ("", "17")];

pub fn measure(report: &mut Report) {
    for load in ["W1", "W2"] {
        let variants = VARIANTS.map(|(conf, switch)| -> Variant<'_> {
            Box::new(move || child::figure(conf, &["pairs", load, switch]))
        });
        let [off, inactive, lg19, lg17] = interleave(ROUNDS, variants);
        report.add(format!("{load}-off"), format!("{load}, prof:false"), off.clone(), "ns", Bar::None);
        let what = format!("{load}, lg_sample 19");
        report.add(format!("{load}-lg19-ns"), what, lg19.clone(), "ns", Bar::None);
        let what = format!("{load}, inactive − prof:false");
        report.add(format!("{load}-inactive"), what, inactive.above(&off), "ns", Bar::AtMost(0.6));
        let more = |series: &Series| series.with(&inactive, |with, without| (with / without - 1.0) * 100.0);
        // Without frame pointers, as release builds come.
        let (bar19, bar17) =
            if load == "W2" { (Bar::AtMost(20.0), Bar::AtMost(60.0)) } else { (Bar::None, Bar::None) };
        let what = |rate: u32| format!("{load}, lg_sample {rate} with labels, above inactive");
        report.add(format!("{load}-lg19"), what(19), more(&lg19), "%", bar19);
        report.add(format!("{load}-lg17"), what(17), more(&lg17), "%", bar17);
    }
}

/// Sets the switch, runs the load and gives the nanoseconds of a pair.
pub fn child(load: &str, switch: &str) -> Vec<f64> {
    match switch {
        "none" => drop(stagelight_profiler::sample_heap(None)),
        rate => drop(rate.parse().map(|rate| stagelight_profiler::sample_heap(Some(rate)))),
    }
    let small_ones = load == "W1";
    let run = move || in_query(|| if small_ones { small() } else { deep(24) });
    std::thread::spawn(run).join().map_or(Vec::new(), |ns| vec![ns])
}

#[query(key = "bench", tenant = "acme")]
fn in_query<R>(work: impl FnOnce() -> R) -> R {
    work()
}

fn small() -> f64 {
    let start = thread_ns();
    for _ in 0..PAIRS {
        drop(black_box(Vec::<u8>::with_capacity(black_box(64))));
    }
    (thread_ns() - start) / f64::from(PAIRS)
}

/// At so many calls below.
#[inline(never)]
fn deep(left: u32) -> f64 {
    let room = black_box([left; 5]);
    let ns = if left == 0 { mixed() } else { deep(left - 1) };
    black_box(room);
    ns
}

fn mixed() -> f64 {
    let mut ring: Vec<Vec<u8>> = (0..RING).map(|_| Vec::new()).collect();
    let sizes = log_uniform();
    let start = thread_ns();
    for pair in 0..PAIRS as usize {
        let place = pair * 7 % RING;
        ring[place] = black_box(Vec::with_capacity(sizes[pair % RING]));
    }
    (thread_ns() - start) / f64::from(PAIRS)
}
