//! Live bytes by tenant against what the tenants keep, and what is lost of memory that is reallocated where it is.

use std::alloc::{Layout, alloc, realloc};

use stagelight::query;
use stagelight_benches::harness::Series;
use stagelight_benches::report::{Bar, Report};
use stagelight_profiler::{heap, sample_heap};

use super::child;

const TENANTS: [(&str, u64); 6] = [
    ("two", 2 << 20),
    ("four", 4 << 20),
    ("eight", 8 << 20),
    ("nine", 9 << 20),
    ("ten", 10 << 20),
    ("40", 40 << 20),
];

pub fn measure(report: &mut Report) {
    let runs: Vec<Vec<f64>> = (0..5).map(|_| child::figures("", &["truth"])).collect();
    let figure = |index: usize| Series::new(runs.iter().filter_map(|run| run.get(index).copied()).collect());
    let what = "live bytes by tenant, the largest error in terms of 3/√n";
    report.add("truth", what, figure(0), "", Bar::AtMost(1.0));
    report.add("in-place", "objects reallocated where they are", figure(1), "", Bar::AtLeast(1000.0));
    report.add("in-place-lost", "of them lost", figure(2), "", Bar::AtMost(0.0));
}

/// The largest error ÷ 3/√n, objects reallocated where they are, and how many of those the profile lost.
pub fn child() -> Vec<f64> {
    let Some(error) = largest_error() else { return Vec::new() };
    // So that each of the objects is sampled but for one in e^16.
    if sample_heap(Some(10)).is_err() {
        return Vec::new();
    }
    let (stayed, bytes) = resized();
    let Some(live) = live("resized") else { return Vec::new() };
    let lost = (bytes as f64 - live) * stayed as f64 / bytes as f64;
    vec![error, stayed as f64, lost.abs().round()]
}

fn live(tenant: &str) -> Option<f64> {
    Some(heap().run().ok()?.filter("tenant", tenant).total() as f64)
}

fn largest_error() -> Option<f64> {
    const LG_SAMPLE: u32 = 13;
    sample_heap(Some(LG_SAMPLE)).ok()?;
    let mut largest = 0.0_f64;
    for (tenant, bytes) in TENANTS {
        let (kept, samples) = keep(tenant, bytes, f64::from(1 << LG_SAMPLE));
        let error = (live(tenant)? / kept as f64 - 1.0).abs();
        largest = largest.max(error * samples.sqrt() / 3.0);
    }
    Some(largest)
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap_or(Layout::new::<u64>())
}

/// Allocates what is never freed and gives what the allocator set aside.
fn allocate(size: usize) -> (*mut u8, u64) {
    // SAFETY: the size is not 0.
    let memory = unsafe { alloc(layout(size)) };
    (memory, usable(memory))
}

fn usable(memory: *mut u8) -> u64 {
    // SAFETY: the memory is allocated, or null.
    unsafe { libc::malloc_usable_size(memory.cast()) as u64 }
}

/// Keeps so much, of sizes from 64 bytes to 32 KiB; how much it was, and how many samples of it are to be expected.
#[query(key = "keep", tenant = tenant)]
fn keep(tenant: &str, bytes: u64, interval: f64) -> (u64, f64) {
    let (mut kept, mut samples, mut seed) = (0, 0.0, bytes);
    while kept < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let size = 64_usize << ((seed >> 33) % 9);
        let (_, usable) = allocate(size + (seed >> 45) as usize % size);
        kept += usable;
        samples -= (-(usable as f64) / interval).exp_m1();
    }
    (kept, samples)
}

/// Objects that got another size where they are, and their bytes; all others are given back.
#[query(key = "resize", tenant = "resized")]
fn resized() -> (u64, u64) {
    let (mut stayed, mut bytes) = (0, 0);
    for object in 0..3_000_usize {
        let before = 17_000 + object % 3_000;
        let (memory, _) = allocate(before);
        // SAFETY: the memory was allocated by this layout, and is freed once, by that of its new size.
        unsafe {
            let now = realloc(memory, layout(before), before + 100);
            if now == memory {
                stayed += 1;
                bytes += usable(now);
            } else {
                std::alloc::dealloc(now, layout(before + 100));
            }
        }
    }
    (stayed, bytes)
}
