//! The collector: one thread that looks at what was recorded, at a steady interval.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::governor::Governor;
use super::snapshot::snapshot;
use super::window::Window;

type Observer = Box<dyn FnMut(&Window) + Send>;

/// Starts a thread that calls the observers with each window.
///
/// ```
/// # use std::time::Duration;
/// let collector = stagelight::collector()
///     .every(Duration::from_secs(1))
///     .on_window(|window| println!("{} queries", window.queries()))
///     .start()?;
/// // … and when the program ends, so that the last window is not lost:
/// collector.stop();
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn collector() -> CollectorBuilder {
    CollectorBuilder { interval: Duration::from_secs(1), budget: Some(0.03), observers: Vec::new() }
}

/// Says how often to look and who is told.
#[must_use = "call `start`"]
pub struct CollectorBuilder {
    interval: Duration,
    budget: Option<f64>,
    observers: Vec<Observer>,
}

/// A running collector. Dropping it stops it after one last window.
#[must_use = "the collector stops when this is dropped"]
pub struct Collector {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl CollectorBuilder {
    /// The length of a window, 1 s unless told otherwise; at least 10 ms.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// The share of the process's CPU time that recording may take, 0.03 unless told otherwise: beyond it, fewer of the
    /// queries that cost most are timed, while all are counted. `None` times them all, whatever it costs.
    pub fn budget(mut self, share: Option<f64>) -> Self {
        self.budget = share.map(|share| if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) });
        self
    }

    /// Adds an observer. It runs on the collector's thread; while it takes its time, windows grow longer and
    /// nothing is lost.
    pub fn on_window(mut self, observe: impl FnMut(&Window) + Send + 'static) -> Self {
        self.observers.push(Box::new(observe));
        self
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(self) -> io::Result<Collector> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let signal = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("stagelight-collector".into())
            .spawn(move || run(&signal, self.interval, self.budget.map(Governor::new), self.observers))?;
        Ok(Collector { stop, thread: Some(thread) })
    }
}

impl Collector {
    /// Reports the last window and ends the thread.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let (stopped, wake) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // An observer's panic has been reported by its thread and is no reason to bring down the host.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

fn run(
    stop: &(Mutex<bool>, Condvar),
    interval: Duration,
    mut governor: Option<Governor>,
    mut observers: Vec<Observer>,
) {
    let (stopped, wake) = stop;
    let mut start = snapshot();
    // No interval is longer than a day, so that no clock overflows.
    let interval = interval.min(Duration::from_secs(86_400));
    let mut due = Instant::now() + interval;
    loop {
        let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = due.saturating_duration_since(Instant::now());
        let (guard, _) =
            wake.wait_timeout_while(guard, wait, |stopped| !*stopped).unwrap_or_else(PoisonError::into_inner);
        let last = *guard;
        drop(guard);
        if let Some(governor) = &mut governor {
            governor.look();
        }
        let window = Window::between(&start, snapshot());
        for observe in &mut observers {
            observe(&window);
        }
        if last {
            return;
        }
        start = window.end;
        // A look that came late does not make the next ones come in a bunch.
        due = (due + interval).max(Instant::now());
    }
}
