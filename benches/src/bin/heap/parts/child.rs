//! Parts that run in a process of their own, and print one figure a line.

use std::process::Command;

use super::{bytes, dump, pairs, truth};

/// What the child is told to do.
pub fn run(arguments: &[String]) {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let figures = match words[..] {
        ["pairs", load, switch] => pairs::child(load, switch),
        ["bytes", counted] => bytes::child(counted == "counted"),
        ["truth"] => truth::child(),
        ["dump"] => dump::child(),
        _ => Vec::new(),
    };
    figures.iter().for_each(|figure| println!("{figure}"));
}

/// The figures of a child whose jemalloc is told `conf`, if that is not empty; none if it failed.
pub fn figures(conf: &str, arguments: &[&str]) -> Vec<f64> {
    let Ok(program) = std::env::current_exe() else { return Vec::new() };
    let mut child = Command::new(program);
    child.arg("--child").args(arguments);
    if !conf.is_empty() {
        // Whichever name this build of jemalloc reads.
        child.env("MALLOC_CONF", conf).env("_RJEM_MALLOC_CONF", conf);
    }
    let Ok(output) = child.output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect()
}

/// The first of them.
pub fn figure(conf: &str, arguments: &[&str]) -> f64 {
    figures(conf, arguments).first().copied().unwrap_or(f64::NAN)
}
