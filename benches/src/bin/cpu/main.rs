//! The CPU profiler against its bars, each measured.
//!
//! `cargo run --release -p stagelight-benches --bin cpu` prints a table for people. With `-- --check` it prints a line a bar,
//! `name value limit ok|miss`, and exits with 1 if any bar is missed. `-- weights labels` runs these parts alone.
//!
//! What could disturb what comes after it, or hang as a peer may, runs in a process of its own: this program with
//! `--child`.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    eprintln!("cpu: CPU profiles need Linux on x86_64");
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod child;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod eintr;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod labels;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod load;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod resources;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod stacks;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod svg;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod throughput;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod walks;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod weights;

// As in a program that takes heap profiles too.
stagelight_profiler::heap_profiler!(lg_sample = 30);

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    use std::time::Instant;

    use stagelight_benches::report::Report;

    /// By name.
    type Part = (&'static str, fn(&mut Report));
    const PARTS: [Part; 8] = [
        ("resources", resources::measure),
        ("walks", walks::measure),
        ("stacks", stacks::measure),
        ("labels", labels::measure),
        ("eintr", eintr::measure),
        ("weights", weights::measure),
        ("svg", svg::measure),
        ("throughput", throughput::measure),
    ];

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
