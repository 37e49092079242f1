//! What the user's metrics cost on one thread, and on each of two that touch the same one.
//!
//! `cargo bench -p stagelight-benches --bench metrics`

#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use stagelight::{Counter, CounterFamily, Distribution, Gauge};

static COUNTER: Counter = Counter::new("bench_total", "A counter.");
static FAMILY: CounterFamily = CounterFamily::new("bench_by_kind_total", "By labels.", &["shard", "kind"]);
static DISTRIBUTION: Distribution = Distribution::new("bench_rows", "A distribution.");
static GAUGE: Gauge = Gauge::new("bench_level", "A gauge.");
/// What a counter without shards would be.
static ATOMIC: AtomicU64 = AtomicU64::new(0);

fn metrics(c: &mut Criterion) {
    both(c, "counter", || COUNTER.add(black_box(1)));
    both(c, "one atomic, to compare", || {
        ATOMIC.fetch_add(black_box(1), Ordering::Relaxed);
    });
    both(c, "family, looked up", || FAMILY.with(black_box(&["3", "index"])).inc());
    let kept = FAMILY.with(&["3", "index"]);
    both(c, "family, kept", || kept.add(black_box(1)));
    both(c, "distribution", || DISTRIBUTION.record(black_box(1234)));
    both(c, "gauge, set", || GAUGE.set(black_box(1.5)));
}

/// On one thread, and while another does the same.
fn both(c: &mut Criterion, name: &str, touch: impl Fn() + Sync) {
    let mut group = c.benchmark_group(name);
    group.bench_function("1 thread", |b| b.iter(&touch));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                (0..1_000).for_each(|_| touch());
            }
        });
        group.bench_function("2 threads", |b| b.iter(&touch));
        done.store(true, Ordering::Relaxed);
    });
    group.finish();
}

criterion_group!(benches, metrics);
criterion_main!(benches);
