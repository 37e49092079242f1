//! The loads: W1, 64 bytes at a time; W2, 16 to 4,095 bytes, log-uniform, in a ring of 4,096, at a depth of 24 calls; and many
//! different stacks.

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use stagelight::query;
use stagelight_benches::cpu_time::thread_ns;

const PAIRS: u32 = 3_000_000;
const RING: usize = 4096;

/// Sets the switch, runs the load and says what it took.
pub fn child(switch: &str, load: &str) -> String {
    match switch {
        "none" => drop(stagelight_profiler::sample_heap(None)),
        rate => drop(rate.parse().map(|rate| stagelight_profiler::sample_heap(Some(rate)))),
    }
    let run = || {
        std::thread::spawn({
            let load = load.to_owned();
            move || in_query(|| if load == "W1" { small() } else { deep(24) })
        })
    };
    match load {
        "dump" => dump(),
        _ => run().join().map_or(String::new(), |ns| ns.to_string()),
    }
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
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let sizes: Vec<usize> =
        (0..RING).map(|_| 16.0_f64.powf(1.0 + 2.0 * (next() % 1000) as f64 / 1000.0) as usize).collect();
    let start = thread_ns();
    for pair in 0..PAIRS as usize {
        let place = pair * 7 % RING;
        ring[place] = black_box(Vec::with_capacity(sizes[pair % RING].min(4095)));
    }
    (thread_ns() - start) / f64::from(PAIRS)
}

/// Different stacks and labels, milliseconds to pprof, megabytes at the peak.
fn dump() -> String {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for tenant in 0..40_u32 {
        labelled(tenant, &mut kept);
    }
    let before = memory("VmRSS");
    let _ = fs::write("/proc/self/clear_refs", "5");
    let start = Instant::now();
    let Ok(profile) = stagelight_profiler::heap().run() else { return String::new() };
    let mut pprof = Vec::new();
    let _ = profile.write_pprof(&mut pprof);
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let peak = memory("VmHWM") - before;
    let mut folded = Vec::new();
    let _ = profile.by_label("tenant").write_folded(&mut folded);
    let stacks = folded.iter().filter(|&&byte| byte == b'\n').count();
    drop(kept);
    format!("{stacks} {ms} {peak}")
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
    black_box(());
}

#[inline(never)]
fn right_turn(path: u32, left: u32, kept: &mut Vec<Vec<u8>>) {
    way(path, left, kept);
    black_box(());
}

/// Megabytes by a line of `status`.
fn memory(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}
