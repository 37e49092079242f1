//! What the collector's own thread uses, where a thousand stages and a thousand statements are all
//! in use.
//!
//! `cargo run --release -p stagelight-benches --bin collector -- [--seconds 20] [--threads 4]
//! [--observed] [--check]` prints its CPU time against the time that passed: with all that a
//! collector does by default, and with an observer, for whom windows are made, if asked for. It is
//! CPU time, so that a busy machine makes it worse by colder caches alone; the load stands beside
//! it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stagelight::__private::{Frame, QueryFrame, Stage, enter, enter_query};
use stagelight::Labels;

const STAGES: usize = 1_000;
const STATEMENTS: usize = 1_000;
const TENANTS: usize = 8;

/// The share of a core that it may use.
const BAR: f64 = 0.003;

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Queries of a thread a second. Each goes through ten stages, so that all stages and statements
/// are in use on all threads.
const QUERIES: u64 = 1_000;

struct Work {
    stages: Vec<&'static Stage>,
    query: &'static Stage,
    labels: Vec<Labels>,
}

impl Work {
    /// One query: each stage takes up to twice a time of its own, and now and then eight times as
    /// long.
    fn run(&self, turn: usize, random: &mut u64) {
        let mut frame = QueryFrame::new();
        let labels = self.labels[turn % STATEMENTS];
        let _query = enter_query(self.query, || labels, &mut frame);
        for number in (turn * 10..).take(10) {
            *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let base = 16_u64 << (number % 8);
            let rounds = base + (*random >> 33) % base;
            let rounds = if (*random >> 20).is_multiple_of(100) { 8 * rounds } else { rounds };
            let mut frame = Frame::new();
            let _stage = enter(self.stages[number % STAGES], &mut frame);
            for round in 0..rounds {
                std::hint::black_box(round);
            }
        }
    }
}

fn main() {
    let (seconds, threads) = (argument("--seconds", 20), argument("--threads", 4));
    let stage = |number: usize| -> &'static Stage {
        Box::leak(Box::new(Stage::new(format!("stage {number:04}").leak(), "bench", file!(), line!())))
    };
    let stages: Vec<&'static Stage> = (0..STAGES).map(stage).collect();
    let labels = (0..STATEMENTS)
        .map(|number| {
            let statement = format!("SELECT * FROM table_{number} WHERE id = ?");
            Labels::new(&statement, &format!("tenant {}", number % TENANTS), &(), &())
        })
        .collect();
    let work = Work { stages, query: stage(STAGES), labels };
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    let mut collector = stagelight::collector();
    if asked("--observed") {
        collector = collector.on_window(|window| {
            std::hint::black_box((window.queries(), window.stages.len()));
        });
    }
    let collector = collector.start().expect("a thread is to be had");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (stop, work) = (&stop, &work);
            scope.spawn(move || {
                let mut random = thread + 1;
                let mut turn = thread as usize * 250;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..QUERIES / 100 {
                        work.run(turn, &mut random);
                        turn += 1;
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
        }
        std::thread::sleep(Duration::from_secs(2));
        let (start, before) = (Instant::now(), stagelight::collector_stats());
        std::thread::sleep(Duration::from_secs(seconds));
        let (passed, after) = (start.elapsed(), stagelight::collector_stats());
        stop.store(true, Ordering::Relaxed);
        let cpu = after.cpu - before.cpu;
        let share = cpu.as_secs_f64() / passed.as_secs_f64();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let snapshot = stagelight::snapshot();
        println!(
            "{} stages, {} statements, {threads} threads: {:.2} ms of CPU time a second, {:.3} % of a core (bar {} %); load {}",
            snapshot.stages.len(),
            snapshot.statements.len(),
            share * 1e3,
            share * 1e2,
            BAR * 1e2,
            load.split(' ').next().unwrap_or("unknown"),
        );
        if asked("--check") && share > BAR {
            std::process::exit(1);
        }
    });
    collector.stop();
}
