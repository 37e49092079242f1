//! CPU time in queries and outside of them, in a process of its own.

#![cfg(target_os = "linux")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stagelight::{query, stage};
use stagelight_tests::{burn, thread_cpu_ns};

#[query(name = "cpu.query", key = "cpu", tenant = "acme")]
fn in_query() {
    burn(2_000_000);
    std::thread::sleep(Duration::from_millis(1));
}

#[stage(name = "cpu.stage")]
fn in_stage_of_no_query() {
    burn(1_000_000);
}

/// In queries and in none.
fn told() -> [f64; 2] {
    let mut text = Vec::new();
    stagelight_profiler::write_metrics(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    ["queries", "no_query"].map(|part| {
        let series = format!("stagelight_cpu_seconds_total{{in=\"{part}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0.0, |value| value.parse().unwrap())
    })
}

#[test]
fn cpu_time_outside_of_queries_is_told_apart() {
    let collector = stagelight::collector().active_history(Some((200, Duration::from_secs(60))));
    let collector = collector.start().unwrap();
    let stop = AtomicBool::new(false);
    let (stop, start) = (&stop, Instant::now());
    let run = |work: fn()| {
        move || {
            while !stop.load(Ordering::Relaxed) {
                work();
            }
            thread_cpu_ns() as f64
        }
    };
    let (within, outside) = std::thread::scope(|scope| {
        let threads = [run(in_query), run(in_stage_of_no_query), run(|| burn(1_000_000))];
        let threads = threads.map(|work| scope.spawn(work));
        // Until there is enough to tell, on a busy machine too.
        while told().iter().sum::<f64>() < 3.0 && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        let [within, stage, nothing] = threads.map(|thread| thread.join().unwrap());
        (within, stage + nothing)
    });
    let [told_within, told_outside] = told();
    collector.stop();
    let (share, told_share) = (within / (within + outside), told_within / (told_within + told_outside));
    // What the collector and the test itself use is outside.
    assert!((told_share - share).abs() < 0.12, "{told_share} for {share}");
    assert!(told_within > 0.0 && told_outside > 0.0);
}
