//! The heap profiler against its bars, each measured.
//!
//! `cargo run --release -p stagelight-benches --bin heap` prints a table for people. With `-- --check` it prints a line a bar,
//! `name value limit ok|miss`, and exits with 1 if any bar is missed.
//!
//! jemalloc is configured as its process starts, so each variant is a process of its own, this program with `--child`, and
//! the variants take turns.

use std::process::{Command, ExitCode};
use std::time::Instant;

use stagelight_benches::harness::Series;
use stagelight_benches::report::{Bar, Report};

mod work;

stagelight_profiler::heap_profiler!(lg_sample = 19);

const ROUNDS: usize = 9;

/// By name: what jemalloc's start is told, and what the program switches then.
const VARIANTS: [(&str, &str, &str); 4] =
    [("off", "prof:false", ""), ("inactive", "", "none"), ("lg19", "", "19"), ("lg17", "", "17")];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, switch, load] = &arguments[..]
        && first == "--child"
    {
        println!("{}", work::child(switch, load));
        return ExitCode::SUCCESS;
    }
    let check = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => {
            eprintln!("heap: there is --check and no more");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let mut report = Report::default();
    for load in ["W1", "W2"] {
        let [off, inactive, lg19, lg17] = variants(load);
        let ns = |series: &Series| series.clone();
        report.add(format!("{load}-off"), format!("{load}, prof:false"), ns(&off), "ns", Bar::None);
        report.add(format!("{load}-lg19-ns"), format!("{load}, lg_sample 19"), ns(&lg19), "ns", Bar::None);
        let bar = Bar::AtMost(0.6);
        report.add(
            format!("{load}-inactive"),
            format!("{load}, inactive − prof:false"),
            inactive.above(&off),
            "ns",
            bar,
        );
        let more = |series: &Series| series.with(&inactive, |with, without| (with / without - 1.0) * 100.0);
        // Without frame pointers, as release builds come.
        let (bar19, bar17) =
            if load == "W2" { (Bar::AtMost(20.0), Bar::AtMost(60.0)) } else { (Bar::None, Bar::None) };
        let what = |rate: u32| format!("{load}, lg_sample {rate} with labels, above inactive");
        report.add(format!("{load}-lg19"), what(19), more(&lg19), "%", bar19);
        report.add(format!("{load}-lg17"), what(17), more(&lg17), "%", bar17);
    }
    let mut dumps = Vec::new();
    for _ in 0..3 {
        dumps.push(figures("", "14", "dump"));
    }
    let figure =
        |index: usize| Series::new(dumps.iter().filter_map(|dump| dump.get(index).copied()).collect());
    report.add(
        "dump-stacks",
        "different stacks and labels of a profile",
        figure(0),
        "",
        Bar::AtLeast(10_000.0),
    );
    report.add("dump-ms", "it to labelled pprof, cold", figure(1), "ms", Bar::AtMost(100.0));
    report.add("dump-mb", "memory that this takes at most", figure(2), "MB", Bar::AtMost(20.0));
    if check {
        report.print_checks();
    } else {
        report.print_table();
        println!("\n{:.0} s", start.elapsed().as_secs_f64());
    }
    if check && report.misses() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Nanoseconds a pair of allocation and release in each variant, in turns.
fn variants(load: &str) -> [Series; 4] {
    let mut rounds = [const { Vec::new() }; 4];
    for round in 0..=ROUNDS {
        for turn in 0..4 {
            let index = (round + turn) % 4;
            let (_, conf, switch) = VARIANTS[index];
            let ns = figures(conf, switch, load).first().copied().unwrap_or(f64::NAN);
            if round > 0 {
                rounds[index].push(ns);
            }
        }
    }
    rounds.map(Series::new)
}

/// What a child prints.
fn figures(conf: &str, switch: &str, load: &str) -> Vec<f64> {
    let Ok(program) = std::env::current_exe() else { return Vec::new() };
    let mut child = Command::new(program);
    child.args(["--child", switch, load]);
    if !conf.is_empty() {
        // Whichever name this build of jemalloc reads.
        child.env("MALLOC_CONF", conf).env("_RJEM_MALLOC_CONF", conf);
    }
    let Ok(output) = child.output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
