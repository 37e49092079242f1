//! Real operations of real engines with stages and without: what recording adds to the whole.
//!
//! The code is written once and made twice by a macro, with the attributes and without. Short rounds of both take turns,
//! and each pair gives an overhead in percent. A governor holds what *the process* spends on recording under its budget, so
//! time in which nothing is recorded would leave more of it for the rest: the rounds without stages make up little of the
//! time, and much work with stages that is not timed comes between.

mod redb;
mod sqlite;

use std::time::{Duration, Instant};

use stagelight_benches::harness::{Series, per_call};
use stagelight_benches::report::{Bar, Report};

const ROUNDS: usize = 41;

/// How long a round takes, about.
const ROUND: Duration = Duration::from_millis(8);

/// Rounds with stages between two that are timed.
const BETWEEN: u32 = 8;

/// For how long the work runs before it is timed: a governor must have seen it.
const SETTLE: Duration = Duration::from_secs(5);

pub fn measure(report: &mut Report) {
    eprintln!("engines");
    // As a program has it that keeps its recording under a budget: no traces and no history, which have bars of their own.
    let collector =
        stagelight::collector().every(Duration::from_millis(250)).traces(None).active_history(None);
    let collector = collector.start().expect("a thread can be had");
    let mut engine = redb::Engine::new();
    let (ns, overhead) = compare(&mut engine, redb::Engine::plain, redb::Engine::staged);
    report.add("redb-ns", "redb point get", ns, "ns", Bar::None);
    report.add("redb", "redb point get, a query of 3 stages, overhead", overhead, "%", Bar::AtMost(3.0));

    let mut engine = sqlite::Engine::new();
    let (ns, overhead) = compare(&mut engine, sqlite::Engine::plain, sqlite::Engine::staged);
    report.add("sqlite-ns", "SQLite point select", ns, "ns", Bar::None);
    report.add(
        "sqlite",
        "SQLite point select, a query of 5 stages, overhead",
        overhead,
        "%",
        Bar::AtMost(3.0),
    );
    collector.stop();
}

/// Nanoseconds of the operation without stages, and by how many percent stages make it slower.
fn compare<E>(
    engine: &mut E,
    plain: fn(&mut E, u64) -> u64,
    staged: fn(&mut E, u64) -> u64,
) -> (Series, Series) {
    let calls = (ROUND.as_nanos() as f64 / per_call(10_000, |key| plain(engine, key))) as u32;
    let start = Instant::now();
    while start.elapsed() < SETTLE {
        per_call(calls, |key| staged(engine, key));
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                without.push(per_call(calls, |key| plain(engine, key)));
            } else {
                with.push(per_call(calls, |key| staged(engine, key)));
            }
        }
        per_call(calls * BETWEEN, |key| staged(engine, key));
    }
    let without = Series::new(without);
    let overhead = Series::new(with).with(&without, |with, without| (with / without - 1.0) * 100.0);
    (without, overhead)
}

/// Keys in no order that a cache could guess.
fn scatter(key: u64, rows: u64) -> u64 {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % rows
}
