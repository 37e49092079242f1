//! Stagelight beside the bare clock and beside its peers: each bar on the record path, measured.
//!
//! `cargo run --release -p stagelight-benches --bin peers` prints a table for people. With `-- --check` it prints a line a
//! bar, `name value limit ok|miss`, and exits with 1 if any bar is missed. `-- --quick` records a twentieth of the billion
//! calls of the memory part, and `-- stages engines` runs these parts alone, while developing.
//!
//! Variants of one comparison take turns in short rounds in this one process; a ratio or difference is taken within each
//! round, and its median over the rounds is held against the bar. The table gives the quartiles beside it. Times are CPU
//! times of the calling thread unless a row says otherwise.

mod body;
mod counters;
mod crew;
mod engine;
mod futures;
mod history;
mod hundred;
mod memory;
mod peer;
mod snapshots;
mod stages;
mod threads;

use std::process::ExitCode;
use std::time::Instant;

use stagelight_benches::report::Report;

// The allocator that counts each thread's bytes, as in a program that takes heap profiles; samples so rare that no peer
// pays for them when it allocates.
stagelight_profiler::heap_profiler!(lg_sample = 30);

/// By name, and whether it may be quick.
type Part = (&'static str, fn(&mut Report, bool));

/// Memory first, while nothing else has used any. The peers last: what they leave running disturbs nothing but themselves.
const PARTS: [Part; 8] = [
    ("memory", |report, quick| memory::measure(report, if quick { 50_000_000 } else { 1_000_000_000 })),
    ("stages", |report, _| stages::measure(report)),
    ("threads", |report, _| threads::measure(report)),
    ("futures", |report, _| futures::measure(report)),
    ("counters", |report, _| counters::measure(report)),
    ("history", |report, _| history::measure(report)),
    ("engines", |report, _| engine::measure(report)),
    ("peers", |report, _| peer::measure(report)),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let known = |argument: &str| {
        ["--check", "--quick"].contains(&argument) || PARTS.iter().any(|part| part.0 == argument)
    };
    if let Some(unknown) = arguments.iter().find(|argument| !known(argument)) {
        let parts = PARTS.map(|part| part.0).join(", ");
        eprintln!("peers: {unknown}? There are --check, --quick and the parts {parts}.");
        return ExitCode::from(2);
    }
    let all = !PARTS.iter().any(|part| has(part.0));

    let start = Instant::now();
    let mut report = Report::default();
    for (_, measure) in PARTS.iter().filter(|part| all || has(part.0)) {
        measure(&mut report, has("--quick"));
    }

    if has("--check") {
        report.print_checks();
        println!("feature-off see-test tests/tests/invariants.rs ok");
    } else {
        report.print_table();
        println!(
            "\nWith the feature off the code is the same: `cargo test -p stagelight-tests --test invariants`."
        );
        println!("\n{:.0} s", start.elapsed().as_secs_f64());
    }
    if has("--check") && report.misses() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
