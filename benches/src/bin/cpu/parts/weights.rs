//! Whether the weights of all samples come to the CPU time, on each rung.

use std::time::Duration;

use stagelight_benches::harness::Series;
use stagelight_benches::report::{Bar, Report};

use super::{child, load};

const WALL: Duration = Duration::from_secs(3);

pub fn measure(report: &mut Report) {
    for rung in ["perf-sigtrap", "perf-setsig", "ctimer", "sampler-thread"] {
        for (hz, threads) in [("99", "1"), ("99", "4"), ("999", "1"), ("999", "4")] {
            let ratios = Series::new(child::figures(rung, &["weights", hz, threads]));
            let what = format!("weights ÷ CPU time, {rung}, {hz} Hz, {threads} threads");
            report.add(format!("weights-{rung}-{hz}-{threads}"), what, ratios, "", Bar::Within(0.98, 1.02));
        }
    }
    for threads in ["1", "4"] {
        let ratios = Series::new(child::figures("auto", &["pprof-rs", "999", threads]));
        let what = format!("the same of pprof 0.15, 999 Hz, {threads} threads (none: it hung)");
        report.add(format!("weights-pprof-rs-{threads}"), what, ratios, "", Bar::None);
    }
}

/// The ratio on this rung.
pub fn child(hz: u32, threads: usize) -> Vec<f64> {
    let Ok(session) = stagelight_profiler::cpu().hz(hz).start() else { return Vec::new() };
    load::burn(threads, WALL);
    // Of all threads, those of the profiler included.
    session.stop().map_or(Vec::new(), |profile| {
        let stats = profile.stats();
        let all = profile.total() as f64 + stats.own_threads.as_nanos() as f64;
        vec![all / stats.cpu_time.as_nanos() as f64]
    })
}

/// What the peer has sampled of what it should have.
pub fn peer(hz: i32, threads: usize) -> Vec<f64> {
    let Ok(guard) = pprof::ProfilerGuard::new(hz) else { return Vec::new() };
    let burned = load::burn(threads, WALL);
    let Ok(report) = guard.report().build() else { return Vec::new() };
    let samples: isize = report.data.values().sum();
    vec![samples as f64 / (burned / 1e9 * f64::from(hz))]
}
