//! How many stacks reach their thread's start, in a release build as it comes.

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use stagelight_benches::report::{Bar, Report};

use super::{child, load};

const WALL: Duration = Duration::from_secs(4);

pub fn measure(report: &mut Report) {
    for (name, what, bar) in [
        ("queries", "complete stacks, queries through Rust and C", 99.9),
        ("panics", "complete stacks, a storm of panics", 98.0),
    ] {
        let share = child::figures("auto", &["stacks", name]).first().copied().unwrap_or(f64::NAN);
        report.add(format!("stacks-{name}"), what, share, "%", Bar::AtLeast(bar));
    }
}

/// The share in percent.
pub fn child(load: &str) -> Vec<f64> {
    let Ok(session) = stagelight_profiler::cpu().hz(999).start() else { return Vec::new() };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| if load == "panics" { panics(WALL) } else { load::query(WALL) });
        }
    });
    let Ok(profile) = session.stop() else { return Vec::new() };
    let stats = profile.stats();
    vec![stats.complete_stacks as f64 / stats.samples.max(1) as f64 * 100.0]
}

fn panics(wall: Duration) {
    std::panic::set_hook(Box::new(|_| ()));
    #[inline(never)]
    fn deep(left: u32) -> u32 {
        assert!(left > 0, "as deep as it goes");
        deep(left - 1) + 1
    }
    let start = Instant::now();
    while start.elapsed() < wall {
        let _ = catch_unwind(|| deep(20));
    }
}
