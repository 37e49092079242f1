//! What `Sampler` adds to an allocator, off and at two rates.
//!
//! `cargo run --release -p stagelight-benches --bin sampler` prints a table: nanoseconds a pair of allocation and release on the
//! system's allocator by itself, and what the wrapper adds. With `--no-default-features` that allocator is libc's; with the feature
//! `heap`, which is on by default, it is jemalloc, which then takes libc's place.

use std::alloc::System;

use stagelight_benches::harness::{Series, Variant, interleave};
use stagelight_benches::report::{Bar, Report};
use stagelight_profiler::{Sampler, sample_heap};

mod work;

#[global_allocator]
static SAMPLER: Sampler<System> = Sampler::with_rate(System, None);

const ROUNDS: usize = 9;

/// Sets the rate and measures.
fn sampled(load: fn(&Sampler<System>) -> f64, rate: Option<u32>) -> f64 {
    sample_heap(rate).map_or(f64::NAN, |()| load(&SAMPLER))
}

fn measure(report: &mut Report, name: &str, plain: fn(&System) -> f64, load: fn(&Sampler<System>) -> f64) {
    let variants: [Variant<'_>; 4] = [
        Box::new(|| plain(&System)),
        Box::new(|| sampled(load, None)),
        Box::new(|| sampled(load, Some(19))),
        Box::new(|| sampled(load, Some(17))),
    ];
    let [plain, off, lg19, lg17]: [Series; 4] = work::in_query(|| interleave(ROUNDS, variants));
    let row = |what: &str| (format!("{name}-{what}"), format!("{name}, {what}"));
    let (short, long) = row("plain");
    report.add(short, long, plain.clone(), "ns", Bar::None);
    for (what, series) in [("off", off), ("lg19", lg19), ("lg17", lg17)] {
        let (short, long) = row(what);
        report.add(short, format!("{long}, more than plain"), series.above(&plain), "ns", Bar::None);
    }
}

fn main() {
    let mut report = Report::default();
    measure(&mut report, "W1", work::small, work::small);
    measure(&mut report, "W2", |system| work::deep(system, 24), |sampler| work::deep(sampler, 24));
    report.print_table();
}
