//! Active query history: what looking at 64 threads in stages costs, and what it costs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stagelight::ActiveHistory;

use crate::body::in_query;
use crate::crew::Crew;
use stagelight_benches::cpu_time::thread_ns;
use stagelight_benches::harness::Series;
use stagelight_benches::report::{Bar, Report};

const THREADS: usize = 64;
const LOOKS: usize = 101;
const HZ: f64 = 20.0;

pub fn measure(report: &mut Report) {
    eprintln!("history");
    let crew = Crew::new(THREADS);
    let stop = Arc::new(AtomicBool::new(false));
    crew.start({
        let stop = stop.clone();
        move |_| {
            in_query(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
        }
    });
    while stagelight::active().len() < THREADS {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut history = ActiveHistory::new(Duration::from_secs(300));
    let look = |_| {
        let start = thread_ns();
        history.look();
        (thread_ns() - start) * HZ / 1e9 * 100.0
    };
    let percent = (0..LOOKS).map(look).collect();
    stop.store(true, Ordering::Relaxed);
    crew.wait();
    let what = "active history at 20 Hz, 64 threads, of one core";
    report.add("history", what, Series::new(percent), "%", Bar::AtMost(0.1));
}
