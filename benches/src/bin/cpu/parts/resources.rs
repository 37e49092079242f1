//! What a profile takes of the process's descriptors, pages and threads, and what is left of it.

use std::fs;
use std::sync::Barrier;

use stagelight_benches::report::{Bar, Report};

use super::child;

/// With the main one.
const THREADS: usize = 64;

pub fn measure(report: &mut Report) {
    let figures = child::figures("auto", &["resources"]);
    let figure = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
    let fds = Bar::AtMost(THREADS as f64);
    report.add("fds", "descriptors while a profile of 64 threads runs", figure(0), "", fds);
    report.add("locked", "locked pages then", figure(1), "", Bar::AtMost(0.0));
    report.add(
        "idle",
        "descriptors, timers and threads that are left after it",
        figure(2),
        "",
        Bar::AtMost(0.0),
    );
}

pub fn child() -> Vec<f64> {
    let (begin, end) = (Barrier::new(THREADS), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(|| {
                begin.wait();
                end.wait();
            });
        }
        begin.wait();
        let before = all();
        let session = stagelight_profiler::cpu().hz(99).start();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let (fds, locked) = (entries("fd"), locked());
        drop(session);
        let after = all();
        end.wait();
        vec![fds - before[0], locked, (0..3).map(|index| (after[index] - before[index]).max(0.0)).sum()]
    })
}

fn all() -> [f64; 3] {
    let timers = fs::read_to_string("/proc/self/timers").unwrap_or_default();
    [entries("fd"), entries("task"), timers.lines().filter(|line| line.starts_with("ID")).count() as f64]
}

fn entries(folder: &str) -> f64 {
    fs::read_dir(format!("/proc/self/{folder}")).map_or(f64::NAN, |entries| entries.count() as f64)
}

/// Locked kilobytes, and mapped events, which count against the same limit.
fn locked() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    let locked: f64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0);
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    locked + maps.lines().filter(|line| line.contains("perf_event")).count() as f64
}
