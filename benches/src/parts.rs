//! A bench in parts, each with bars of its own: what the arguments ask for is run and told.

use std::process::ExitCode;
use std::time::Instant;

use crate::report::Report;

/// What a part is called and what measures it.
pub type Part = (&'static str, fn(&mut Report));

/// Runs the parts that the arguments name, or all, and prints a table for people, or with `--check` a line a bar. With `--child`
/// as the first argument `child` gets the others: parts that want a process of their own start it so.
pub fn main(bench: &str, parts: &[Part], child: fn(&[String])) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &arguments[..]
        && first == "--child"
    {
        child(rest);
        return ExitCode::SUCCESS;
    }
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let known = |argument: &str| argument == "--check" || parts.iter().any(|part| part.0 == argument);
    if let Some(unknown) = arguments.iter().find(|argument| !known(argument)) {
        let parts: Vec<&str> = parts.iter().map(|part| part.0).collect();
        eprintln!("{bench}: {unknown}? There are --check and the parts {}.", parts.join(", "));
        return ExitCode::from(2);
    }
    let all = !parts.iter().any(|part| has(part.0));
    let start = Instant::now();
    let mut report = Report::default();
    for (name, measure) in parts.iter().filter(|part| all || has(part.0)) {
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
