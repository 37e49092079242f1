//! Whether time in the kernel has functions of it, where they may be seen.

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant};

use stagelight_benches::report::{Bar, Report};

use super::child;

const WALL: Duration = Duration::from_secs(3);

pub fn measure(report: &mut Report) {
    let figures = child::figures("auto", &["kernel"]);
    let share = figures.first().copied().unwrap_or(f64::NAN);
    let bar = if figures.get(1) == Some(&1.0) { Bar::AtLeast(99.0) } else { Bar::None };
    let what = "time in the kernel with functions of it (0: it may not be seen)";
    report.add("kernel-frames", what, share, "%", bar);
}

/// The share in percent, and whether the rung is the one that sees the kernel.
pub fn child() -> Vec<f64> {
    let Ok(session) = stagelight_profiler::cpu().hz(999).kernel_frames().start() else { return Vec::new() };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(calls);
        }
    });
    let Ok(profile) = session.stop() else { return Vec::new() };
    let mut folded = Vec::new();
    if profile.write_folded(&mut folded).is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&folded).into_owned();
    let sum = |part: &str| -> f64 {
        let values =
            text.lines().filter(|line| line.contains(part)).filter_map(|line| line.rsplit(' ').next());
        values.filter_map(|value| value.parse::<f64>().ok()).sum()
    };
    let seen = profile.stats().rung == "perf-sigtrap-kernel";
    vec![100.0 * sum(";[kernel];") / sum(";[kernel]"), f64::from(u8::from(seen))]
}

/// System calls that take little and much.
fn calls() {
    let Ok(mut zeros) = File::open("/dev/zero") else { return };
    let mut room = vec![0; 1 << 20];
    let start = Instant::now();
    while start.elapsed() < WALL {
        for size in [16, 4 << 10, 1 << 20] {
            if zeros.read_exact(&mut room[..size]).is_err() {
                return;
            }
        }
    }
}
