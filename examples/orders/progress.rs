//! A progress bar with the live throughput, as one may feed any display from the collector.

use std::io;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use stagelight::Collector;

/// A running progress bar.
pub struct Progress {
    bar: ProgressBar,
    collector: Collector,
}

/// Shows a bar that fills within that time. Nothing is shown where stderr is no terminal.
pub fn start(duration: Duration) -> io::Result<Progress> {
    let style = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(duration.as_millis() as u64).with_style(style);
    let shown = bar.clone();
    let started = Instant::now();
    let collector = stagelight::collector()
        .every(Duration::from_millis(250))
        .on_window(move |window| {
            let queries_a_second = window.queries() as f64 / window.duration.as_secs_f64();
            shown.set_message(format!("{queries_a_second:.0} queries/s"));
            shown.set_position(started.elapsed().as_millis() as u64);
        })
        .start()?;
    Ok(Progress { bar, collector })
}

impl Progress {
    pub fn stop(self) {
        self.collector.stop();
        self.bar.finish_and_clear();
    }
}
