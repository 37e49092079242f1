//! A hundred stages on 64 threads, with durations in four powers of two each: what they take in memory, whether that
//! stays flat over a billion records, and what a snapshot of them costs.
//!
//! Bytes are told twice: as the recorder counts them, and as the process grew (`Rss` of `smaps_rollup`; `VmRSS` lags by
//! some pages a CPU).

use crate::body::in_query;
use crate::crew::Crew;
use crate::hundred::{HUNDRED, STAGES};
use crate::snapshots;
use stagelight_benches::harness::Series;
use stagelight_benches::report::{Bar, Report};

const THREADS: usize = 64;

/// Nanoseconds of the calls: one that takes what a stage takes, and three in other powers of two.
const DURATIONS: [u64; 4] = [0, 300, 1_500, 6_000];

/// What may come to memory between the first tenth of the records and the last: some stages see one more power of two
/// whenever the system interrupts a call.
const FLAT_MB: f64 = 1.0;

pub fn measure(report: &mut Report, records: u64) {
    eprintln!("memory: {STAGES} stages, {THREADS} threads, {records} records");
    let crew = Crew::new(THREADS);
    let before = rss();

    crew.run(|_| {
        in_query(|| {
            for ns in DURATIONS {
                // Twice: the first call of a stage is the one that registers it.
                HUNDRED.iter().chain(&HUNDRED).for_each(|stage| stage(ns));
            }
        });
    });
    report.add("memory", "100 stages × 64 threads, by the recorder", recorded(), "MB", Bar::AtMost(10.0));
    report.add("memory-rss", "the same, by the process's growth", rss() - before, "MB", Bar::AtMost(10.0));
    let times = snapshots::times();
    report.add("snapshot", "a snapshot of them", times, "ms", Bar::AtMost(5.0));
    let wrong = snapshots::contradictions(&crew);
    report.add("snapshot-wrong", "contradictions in snapshots meanwhile", wrong, "", Bar::AtMost(0.0));

    record(&crew, records / 10);
    let early = (recorded(), rss());
    record(&crew, records - records / 10);
    let grown = |late: f64, early: f64| Series::from((late - early).max(0.0));
    let millions = records / 1_000_000;
    let what = |who| format!("growth over {millions} million records, by {who}");
    report.add("flat", what("the recorder"), grown(recorded(), early.0), "MB", Bar::AtMost(FLAT_MB));
    report.add("flat-rss", what("the process"), grown(rss(), early.1), "MB", Bar::AtMost(FLAT_MB));
    report.add("memory-after", "after them, by the recorder", recorded(), "MB", Bar::AtMost(10.0));
    report.add("memory-after-rss", "after them, by the process", rss() - before, "MB", Bar::AtMost(10.0));
}

/// Has the crew record so many calls, spread evenly over threads and stages.
fn record(crew: &Crew, records: u64) {
    let rounds = records / (THREADS * STAGES) as u64;
    crew.run(move |_| {
        in_query(|| {
            for _ in 0..rounds {
                HUNDRED.iter().for_each(|stage| stage(0));
            }
        });
    });
}

/// Megabytes that the recorder says it uses.
fn recorded() -> f64 {
    stagelight::snapshot().recorder.bytes as f64 / 1e6
}

/// Megabytes of this process that are in memory.
fn rss() -> f64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")
        .or_else(|_| std::fs::read_to_string("/proc/self/status"))
        .unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:").or(line.strip_prefix("VmRSS:")));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}
