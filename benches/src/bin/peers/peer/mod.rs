//! The peers, each as its own documentation says to use it, around the same body; ours in the same rounds.
//!
//! A round is a million calls in a row on a thread of its own, so what a peer puts into a queue of the thread it puts there
//! as under lasting load. The bar is on the time of the calling thread. Some leave work to other threads or to a later
//! read; the second figure is the CPU time of the whole process until all of that is done, which holds no bar.

mod fastrace;
mod hotpath;
mod metrics;
mod opentelemetry;
mod prometheus;
mod tracing;

use crate::body::{in_query, staged};
use stagelight_benches::cpu_time::{process_ns, wait_for_idle};
use stagelight_benches::harness::{Series, Variant, per_call, turns};
use stagelight_benches::report::{Bar, Report};

const ROUNDS: usize = 11;
const CALLS: u32 = 1_000_000;

/// Spans a trace, and stages a query where a trace is what a peer is for: as many as SQLite's point select has.
const SPANS: u32 = 5;

/// What a call costs, in nanoseconds.
#[derive(Clone, Copy)]
struct Cost {
    caller: f64,
    process: f64,
}

pub fn measure(report: &mut Report) {
    eprintln!("peers");
    hotpath::set_up();
    fastrace::set_up();
    tracing::set_up();
    let metrics = metrics::set_up();
    let costs = turns(
        ROUNDS,
        [
            variant(|| in_query(|| per_call(CALLS, staged)), || ()),
            variant(queries, || ()),
            variant(|| per_call(CALLS, hotpath::call), || ()),
            variant(fastrace::traces, || ()),
            variant(|| per_call(CALLS, tracing::call), || ()),
            variant(|| per_call(CALLS, prometheus::call), || ()),
            // Its histograms keep every value until somebody empties them.
            variant(|| per_call(CALLS, metrics::call), move || metrics.run_upkeep()),
            variant(|| per_call(CALLS, opentelemetry::call), || ()),
        ],
    );
    let [ours, queries, hotpath, fastrace, tracing, prometheus, metrics, opentelemetry] = costs.map(split);
    report.add("ours-ns", "full stage, among the peers", ours.0.clone(), "ns", Bar::None);
    report.add("ours-process-ns", "full stage, whole process", ours.1.clone(), "ns", Bar::None);
    report.add("ours-queries-ns", "full stage, a query every five", queries.0.clone(), "ns", Bar::None);
    for (name, what, ours, theirs, least) in [
        ("hotpath", "hotpath 0.30 #[measure]", &ours, hotpath, 2.0),
        ("fastrace", "fastrace 0.7 #[trace], sampled, a root every five", &queries, fastrace, 3.5),
        ("tracing", "tracing #[instrument], bare registry", &ours, tracing, 5.0),
        ("prometheus", "prometheus HistogramVec timer", &ours, prometheus, 3.5),
        ("metrics", "metrics histogram!, Prometheus exporter", &ours, metrics, 3.0),
        ("opentelemetry", "OpenTelemetry SDK histogram", &ours, opentelemetry, 4.0),
    ] {
        let (caller, process) = (theirs.0.over(&ours.0), theirs.1.over(&ours.1));
        report.add(format!("{name}-ns"), what, theirs.0, "ns", Bar::None);
        report.add(name, format!("{what} ÷ ours"), caller, "×", Bar::AtLeast(least));
        report.add(
            format!("{name}-process"),
            format!("{what} ÷ ours, whole process"),
            process,
            "×",
            Bar::None,
        );
    }
}

/// A round of `calls`, on a new thread, and of what `later` does with what they left.
fn variant<'a>(calls: impl Fn() -> f64 + Send + Sync + 'a, later: impl Fn() + 'a) -> Variant<'a, Cost> {
    Box::new(move || {
        let start = process_ns();
        let caller = std::thread::scope(|scope| scope.spawn(&calls).join().expect("a round does not panic"));
        later();
        wait_for_idle();
        Cost { caller, process: (process_ns() - start) / f64::from(CALLS) }
    })
}

/// Nanoseconds a stage, its part of the query's root included.
fn queries() -> f64 {
    per_root(|value| in_query(|| (0..u64::from(SPANS)).map(|span| staged(value + span)).sum()))
}

/// Nanoseconds a span where a call of `root` makes [`SPANS`] of them.
fn per_root(root: impl FnMut(u64) -> u64) -> f64 {
    per_call(CALLS / SPANS, root) / f64::from(SPANS)
}

fn split(costs: Vec<Cost>) -> (Series, Series) {
    let series = |of: fn(&Cost) -> f64| Series::new(costs.iter().map(of).collect());
    (series(|cost| cost.caller), series(|cost| cost.process))
}
