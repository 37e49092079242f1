//! What a stage costs beside the bare pair of clock reads that any timing needs.
//!
//! `cargo bench -p stagelight-benches --bench stage`

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};

/// The same body in all variants, small enough that only the stage's own cost shows.
macro_rules! body {
    ($value:expr) => {
        black_box($value) + 1
    };
}

#[inline(never)]
fn plain(value: u64) -> u64 {
    body!(value)
}

#[inline(never)]
#[stagelight::stage]
fn staged(value: u64) -> u64 {
    body!(value)
}

#[inline(never)]
#[stagelight::stage]
fn outer(value: u64) -> u64 {
    staged(value) + staged(value)
}

#[inline(never)]
#[stagelight::query(key = "select", tenant = tenant)]
fn queried(value: u64, tenant: &str) -> u64 {
    body!(value)
}

#[inline(never)]
fn clock_pair(value: u64) -> u64 {
    let start = now();
    let value = body!(value);
    black_box(now() - start);
    value
}

/// The clock that the record path reads where the kernel trusts the TSC.
#[inline(always)]
fn now() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: `rdtsc` is part of x86_64 and touches no memory.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    0
}

fn stage(c: &mut Criterion) {
    let mut group = c.benchmark_group("stage");
    group.bench_function("compiled out", |b| b.iter(|| plain(black_box(1))));
    group.bench_function("clock pair", |b| b.iter(|| clock_pair(black_box(1))));
    group.bench_function("enabled", |b| b.iter(|| staged(black_box(1))));
    group.bench_function("enabled, three nested", |b| b.iter(|| outer(black_box(1))));
    group.bench_function("query with two labels", |b| b.iter(|| queried(black_box(1), black_box("acme"))));
    stagelight::set_recording(false);
    group.bench_function("off", |b| b.iter(|| staged(black_box(1))));
    stagelight::set_recording(true);
    group.finish();
}

criterion_group!(benches, stage);
criterion_main!(benches);
