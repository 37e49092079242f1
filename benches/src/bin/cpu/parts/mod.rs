//! The parts, and what runs them.

mod child;
mod eintr;
mod floor;
mod kernel;
mod labels;
mod load;
mod resources;
mod stacks;
mod svg;
mod throughput;
mod walks;
mod weights;

use std::process::ExitCode;
use std::time::Instant;

use stagelight_benches::report::Report;

/// By name.
type Part = (&'static str, fn(&mut Report));

const PARTS: [Part; 9] = [
    ("resources", resources::measure),
    ("walks", walks::measure),
    ("stacks", stacks::measure),
    ("kernel", kernel::measure),
    ("labels", labels::measure),
    ("eintr", eintr::measure),
    ("weights", weights::measure),
    ("svg", svg::measure),
    ("throughput", throughput::measure),
];

/// Runs what the arguments ask for.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..]
        && first == "--child"
    {
        child::run(rest);
        return ExitCode::SUCCESS;
    }
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let known = |argument: &str| argument == "--check" || PARTS.iter().any(|part| part.0 == argument);
    if let Some(unknown) = arguments.iter().find(|argument| !known(argument)) {
        let parts = PARTS.map(|part| part.0).join(", ");
        eprintln!("cpu: {unknown}? There are --check and the parts {parts}.");
        return ExitCode::from(2);
    }
    let all = !PARTS.iter().any(|part| has(part.0));
    let start = Instant::now();
    let mut report = Report::default();
    for (name, measure) in PARTS.iter().filter(|part| all || has(part.0)) {
        eprintln!("{name}");
        measure(&mut report);
    }
    if has("--check") {
        report.print_checks();
    } else {
        report.print_table();
        println!("\n{:.0} s", start.elapsed().as_secs_f64());
    }
    if has("--check") && report.misses() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
