//! The collector: one thread that looks at what was recorded, at a steady interval.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use super::governor::Governor;
use super::history;
use super::own_threads;
use super::punctuality::Punctuality;
use super::snapshot::{snapshot, statements};
use super::traces::{self, TraceSettings};
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
    CollectorBuilder {
        interval: Duration::from_secs(1),
        budget: Some(0.03),
        history: Some((20, Duration::from_secs(300))),
        traces: Some(TraceSettings::default()),
        error_texts: false,
        observers: Vec::new(),
    }
}

/// Says how often to look and who is told.
#[must_use = "call `start`"]
pub struct CollectorBuilder {
    interval: Duration,
    budget: Option<f64>,
    history: Option<(u32, Duration)>,
    traces: Option<TraceSettings>,
    error_texts: bool,
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

    /// Looks so many times a second (1 to 1000) at what is active and keeps the looks of that time, for
    /// [`active_averages`](crate::active_averages); 20 times a second and five minutes unless told otherwise. `None` keeps
    /// no history. A look costs some 0.3 µs a thread, and 15 µs for what three of them do.
    pub fn active_history(mut self, history: Option<(u32, Duration)>) -> Self {
        self.history = history.map(|(hz, keep)| (hz.clamp(1, 1000), keep));
        self
    }

    /// Which queries leave a trace, for [`recent_traces`](crate::recent_traces) and the windows; by default one timed query in
    /// ten, and all that failed or were slow for their statement. `None` takes no traces, and recording follows no query.
    pub fn traces(mut self, settings: Option<TraceSettings>) -> Self {
        self.traces = settings;
        self
    }

    /// Whether a span says what its stage's error says, by its `Display`, cut to 240 bytes. Off
    /// unless it is asked for: such texts often quote the values that a statement was given, and
    /// whoever sees a trace sees them. Of an error that a function with `#[track_caller]` passes on
    /// by `?` the text is not known.
    #[cfg(feature = "error-texts")]
    pub fn error_texts(mut self, noted: bool) -> Self {
        self.error_texts = noted;
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
        if let Some(traces) = self.traces {
            traces::start(traces, self.error_texts);
        }
        let thread = std::thread::Builder::new().name("stagelight-collector".into()).spawn(move || {
            own_threads::count_own_thread();
            run(&signal, self);
        })?;
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

fn run(stop: &(Mutex<bool>, Condvar), mut settings: CollectorBuilder) {
    let (stopped, wake) = stop;
    // No interval is longer than a day, so that no clock overflows.
    let interval = settings.interval.min(Duration::from_secs(86_400));
    // The threads' rings of spans are emptied at each look, so there is one even where no history is kept.
    let hz = settings.history.map_or(20, |(hz, _)| hz);
    let look_interval = Duration::from_secs(1) / hz;
    let mut governor = settings.budget.map(Governor::new);
    let mut punctuality = Punctuality::new();
    let mut thresholds = Thresholds::default();
    // Whom nobody observes makes no windows.
    let observed = !settings.observers.is_empty();
    let mut start = observed.then(snapshot);
    let mut due = Instant::now() + interval;
    let mut look_due = Instant::now() + look_interval;
    loop {
        let next = look_due.min(due);
        let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = next.saturating_duration_since(Instant::now());
        let (guard, _) =
            wake.wait_timeout_while(guard, wait, |stopped| !*stopped).unwrap_or_else(PoisonError::into_inner);
        let last = *guard;
        drop(guard);
        let now = Instant::now();
        // The last look comes when it is called for.
        if !last {
            punctuality.begin(next, now);
        }
        if now >= look_due || last {
            if let Some((_, keep)) = settings.history {
                history::look(keep);
            }
            if settings.traces.is_some() {
                traces::gather(observed);
            }
            // A look that came late does not make the next ones come in a bunch.
            look_due = (look_due + look_interval).max(now);
        }
        if !last && now < due {
            punctuality.end(now, look_interval);
            continue;
        }
        if let Some(governor) = &mut governor {
            governor.look();
        }
        let mut window = start.as_ref().map(|start| Window::between(start, snapshot()));
        let mut unobserved = Vec::new();
        let looks_at_statements = window.is_some() || thresholds.are_due();
        if window.is_none() && looks_at_statements {
            // Labels change hands as they do at a snapshot.
            unobserved = statements();
        }
        if let Some(settings) = settings.traces {
            if looks_at_statements {
                let statements = window.as_ref().map_or(&unobserved, |window| &window.end.statements);
                traces::set_thresholds(settings, statements);
            }
            let fresh = traces::take_fresh();
            if let Some(window) = &mut window {
                window.traces = fresh;
            }
        }
        if let Some(window) = &window {
            for observe in &mut settings.observers {
                observe(window);
            }
        }
        punctuality.end(now, interval);
        if last {
            history::forget();
            traces::stop();
            return;
        }
        start = window.map(|window| window.end);
        due = (due + interval).max(now);
    }
}

/// When statements are looked at where nobody observes: their distributions over all time change
/// ever more slowly, and to read them costs more than the rest of a window.
#[derive(Default)]
struct Thresholds {
    looks: u32,
    last: Option<Instant>,
}

impl Thresholds {
    fn are_due(&mut self) -> bool {
        const FIRST: u32 = 16;
        const EVERY: Duration = Duration::from_secs(5);
        let now = Instant::now();
        let are_due = self.looks < FIRST || self.last.is_none_or(|last| now.duration_since(last) >= EVERY);
        if are_due {
            self.looks = self.looks.saturating_add(1);
            self.last = Some(now);
        }
        are_due
    }
}
