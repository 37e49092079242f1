//! A counter that two threads increment at once.

use crate::threads::on_threads;
use stagelight_benches::harness::interleave;
use stagelight_benches::report::{Bar, Report};

static COUNTER: stagelight::Counter =
    stagelight::Counter::new("peers_counted_total", "Increments of the bench.");

pub fn measure(report: &mut Report) {
    eprintln!("counters");
    let count = |value: u64| {
        COUNTER.inc();
        value
    };
    let [one, two] = interleave(21, [Box::new(|| on_threads(1, count)), Box::new(|| on_threads(2, count))]);
    report.add("counter-one-ns", "a counter, one thread", one, "ns", Bar::None);
    report.add("counter", "a counter, each of two threads", two, "ns", Bar::AtMost(5.0));
}
