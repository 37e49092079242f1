//! The estimate of what Stagelight costs has all that its threads use, in a process of its own.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::time::Duration;

use stagelight::{query, stage};
use stagelight_tests::burn;

/// The CPU time of the process's threads whose name says that they are Stagelight's, by their own
/// clocks.
fn clocks() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let ours = threads.filter(|thread| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name.starts_with("stagelight-"))
    });
    let cpu_ns = |thread: std::fs::DirEntry| {
        let thread: i32 = thread.file_name().to_str()?.parse().ok()?;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the place to write to is ours.
        let read = unsafe { libc::clock_gettime((!thread << 3) | 6, &raw mut time) };
        (read == 0).then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    };
    Duration::from_nanos(ours.filter_map(cpu_ns).sum())
}

#[query(name = "overhead.query", key = "overhead")]
fn run() {
    for _ in 0..100 {
        step();
    }
    burn(100_000);
}

#[stage(name = "overhead.step")]
fn step() {}

#[test]
fn what_stagelight_s_threads_use_is_in_its_overhead() {
    let collector = stagelight::collector().every(Duration::from_millis(10)).on_window(|_| burn(500_000));
    let collector = collector.start().unwrap();
    let api = stagelight_profiler::serve("127.0.0.1:0").unwrap();
    let past = stagelight_profiler::continuous().start();
    let get = |path: &str| {
        let url = format!("http://{}{path}", api.local_addr());
        ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap()
    };
    for _ in 0..50 {
        run();
        get("/metrics");
        // While all of them live, what is told lies between two looks at their clocks.
        let before = clocks();
        let told = stagelight_profiler::overhead().threads;
        let after = clocks();
        assert!(before <= told && told <= after, "{before:?} {told:?} {after:?}");
    }
    let used = clocks();
    assert!(used > Duration::from_millis(20), "{used:?}");
    // All of it is in the percentage.
    let overhead = stagelight_profiler::overhead();
    let mut process = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut process) };
    let process = process.tv_sec as f64 + process.tv_nsec as f64 / 1e9;
    assert!(overhead.percent >= 100.0 * used.as_secs_f64() / process, "{}", overhead.percent);
    let page = get("/metrics");
    let counted = page.lines().find_map(|line| line.strip_prefix("stagelight_threads_cpu_seconds_total "));
    assert!(counted.unwrap().parse::<f64>().unwrap() >= used.as_secs_f64());
    // What has ended stays in it.
    collector.stop();
    drop((api, past));
    assert!(stagelight_profiler::overhead().threads >= used);
}
