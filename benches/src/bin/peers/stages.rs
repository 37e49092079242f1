//! One stage on one thread: fully timed, and off at run time, beside the clock pair and the empty function.

use std::hint::black_box;

use stagelight::Mode;

use crate::body::{body, clock_pair, in_query, plain, staged};
use stagelight_benches::harness::{interleave, per_call};
use stagelight_benches::report::{Bar, Report};

const ROUNDS: usize = 41;
const CALLS: u32 = 500_000;

pub fn measure(report: &mut Report) {
    eprintln!("stages");
    prove();
    let [empty, clock, full, counted, off, query, query_counted] = interleave(
        ROUNDS,
        [
            Box::new(|| per_call(CALLS, plain)),
            Box::new(|| per_call(CALLS, clock_pair)),
            Box::new(|| in_query(|| per_call(CALLS, staged))),
            Box::new(|| in_mode(Mode::Count)),
            Box::new(|| in_mode(Mode::Off)),
            Box::new(|| per_call(CALLS / 4, queried)),
            Box::new(|| {
                stagelight::set_mode("*", Mode::Count);
                let ns = per_call(CALLS / 4, queried);
                stagelight::set_mode("*", Mode::Span);
                ns
            }),
        ],
    );
    report.add("empty-ns", "the empty function", empty.clone(), "ns", Bar::None);
    report.add("clock-pair-ns", "a bare pair of clock reads", clock.clone(), "ns", Bar::None);
    report.add("full-ns", "full stage", full.clone(), "ns", Bar::None);
    report.add("full", "full stage ÷ clock pair", full.over(&clock), "×", Bar::AtMost(1.35));
    report.add("counted", "stage counted and labelled, not timed", counted, "ns", Bar::AtMost(4.0));
    report.add("off", "stage off at run time − empty function", off.above(&empty), "ns", Bar::AtMost(1.0));
    report.add("query-ns", "a query, timed, its labels constants", query, "ns", Bar::None);
    report.add("query-counted-ns", "the same, not timed", query_counted, "ns", Bar::None);
}

#[inline(never)]
#[stagelight::query(key = "select ?", tenant = "acme")]
fn queried(value: u64) -> u64 {
    body!(value)
}

macro_rules! copies {
    ($($name:ident)*) => {
        $(
            #[inline(never)]
            #[stagelight::stage]
            fn $name(value: u64) -> u64 {
                body!(value)
            }
        )*
        /// The same stage some times over, each with a loop of its own: where the linker happens to put a function of a
        /// nanosecond decides whether it takes one or two.
        const COPIES: &[fn(u32) -> f64] = &[$(|calls| per_call(calls, $name)),*];
    };
}
copies!(one two three four five six seven eight);

/// The mean of the copies in a mode, within a query. Switched outside of what is timed.
fn in_mode(mode: Mode) -> f64 {
    stagelight::set_mode("*", mode);
    let ns: f64 = in_query(|| COPIES.iter().map(|copy| copy(CALLS / 4)).sum());
    stagelight::set_mode("*", Mode::Span);
    ns / COPIES.len() as f64
}

/// That the full stage is one: counted, timed, with its bytes, under its query's labels.
fn prove() {
    in_query(|| stagelight::stage_block!("proof", { drop(black_box(vec![0_u8; 4096])) }));
    let snapshot = stagelight::snapshot();
    let proof = snapshot.stage("proof").expect("it was entered");
    assert_eq!((proof.calls, proof.histogram.count()), (1, 1));
    assert!(proof.self_ns > 0 && snapshot.tenants.iter().any(|tenant| tenant.value == "acme"));
    assert!(proof.alloc_bytes >= 4096 || cfg!(not(target_os = "linux")), "the allocator counts");
}
