//! One CPU profile from its start to its end. One runs at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::drain::{self, Gathered};
use super::handler::{self, Recorder};
use super::ring::Ring;
use super::rung::{self, Trigger};
use super::tasks;
use super::{Chosen, Totals};
use crate::error::Error;
use crate::profile::{Kind, Profile, ProfileStats};
use crate::unwind;

/// Who samples at present.
struct Running {
    owner: String,
    until: Option<Instant>,
}

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

static CHOSEN: Mutex<Option<Chosen>> = Mutex::new(None);

/// Bytes of the running profile's ring.
static RING_BYTES: AtomicU64 = AtomicU64::new(0);

/// Who takes a CPU profile at this moment and until when, in a sentence.
pub(crate) fn running() -> Option<String> {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.as_ref().map(|Running { owner, until }| match until {
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now()).as_secs_f64();
            format!("{owner} is taking a CPU profile for another {left:.1} s")
        }
        None => format!("{owner} is taking a CPU profile until it is stopped"),
    })
}

/// Bytes that sampling uses at present.
pub(crate) fn bytes() -> usize {
    RING_BYTES.load(Ordering::Relaxed) as usize + unwind::bytes()
}

/// What all profiles so far came to, the running one included.
pub(crate) fn totals() -> Totals {
    Totals {
        kept: handler::KEPT.load(Ordering::Relaxed),
        ring_full: handler::RING_FULL.load(Ordering::Relaxed),
        late: handler::LATE.load(Ordering::Relaxed),
        handler: Duration::from_nanos(handler::HANDLER_NS.load(Ordering::Relaxed)),
    }
}

/// The rung that the running or else the last profile was taken on; `None` before the first.
#[cfg(feature = "control")]
pub(crate) fn chosen() -> Option<Chosen> {
    CHOSEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

pub(super) struct Session {
    hz: u32,
    rung: Chosen,
    started: SystemTime,
    start: Instant,
    cpu_start_ns: u64,
    totals_at_start: Totals,
    stop: Option<Sender<()>>,
    drain: Option<JoinHandle<Gathered>>,
    /// Held from the first moment to the last.
    _turn: Turn,
}

/// The right to take the one CPU profile that runs at a time.
struct Turn;

impl Turn {
    fn take(owner: String, duration: Option<Duration>) -> Result<Self, Error> {
        if let Some(running) = running() {
            return Err(Error::Busy(format!("{running}; one runs at a time")));
        }
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return Err(Error::Busy("another CPU profile was just started; one runs at a time".into()));
        }
        *running = Some(Running { owner, until: duration.map(|duration| Instant::now() + duration) });
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Where the drain did not come to it.
        handler::disarm(|_| ());
        RING_BYTES.store(0, Ordering::Relaxed);
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("hz", &self.hz).field("rung", &self.rung.name).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn start(hz: u32, duration: Option<Duration>, owner: String) -> Result<Self, Error> {
        let turn = Turn::take(owner, duration)?;
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        unwind::refresh();
        let period = 1_000_000_000 / u64::from(hz);
        let ring = Ring::new(slots(hz));
        RING_BYTES.store(ring.bytes() as u64, Ordering::Relaxed);
        handler::arm(Box::new(Recorder { ring, number: NUMBER.fetch_add(1, Ordering::Relaxed), period }));
        // The drain waits for its rung, so that it is among the threads that get a trigger.
        let (stop, stopped) = mpsc::channel();
        let (hand_over, rung) = mpsc::channel::<Box<dyn Trigger>>();
        let drain = std::thread::Builder::new()
            .name("stagelight-cpu".into())
            .spawn(move || match rung.recv() {
                Ok(rung) => drain::run(rung, &stopped),
                // No rung could be started.
                Err(_) => Gathered::default(),
            })
            .map_err(|error| Error::Io("no thread to drain the samples".into(), error))?;
        let cpu_start_ns = tasks::cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID);
        let (started, start, totals_at_start) = (SystemTime::now(), Instant::now(), totals());
        let (rung, refused) = rung::start(period)?;
        let chosen = Chosen { name: rung.name(), limits: rung.limits(), refused };
        *CHOSEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(chosen.clone());
        // The drain waits for it.
        let _ = hand_over.send(rung);
        Ok(Self {
            hz,
            rung: chosen,
            started,
            start,
            cpu_start_ns,
            totals_at_start,
            stop: Some(stop),
            drain: Some(drain),
            _turn: turn,
        })
    }

    pub(super) fn rung(&self) -> &str {
        self.rung.name
    }

    pub(super) fn finish(mut self, lines: bool) -> Result<Profile, Error> {
        let duration = self.start.elapsed();
        let cpu_end_ns = tasks::cpu_ns(libc::CLOCK_PROCESS_CPUTIME_ID);
        let gathered = self
            .end()
            .ok_or_else(|| Error::Unsupported("the CPU profile's drain thread ended early".into()))?;
        let totals = totals();
        let stats = ProfileStats {
            rung: self.rung.name.into(),
            rung_limits: self.rung.limits.into(),
            rungs_refused: std::mem::take(&mut self.rung.refused),
            samples: totals.kept - self.totals_at_start.kept,
            complete_stacks: gathered.complete,
            dropped: vec![
                ("ring_full", totals.ring_full - self.totals_at_start.ring_full),
                ("stack_cap", gathered.stack_cap),
                ("context_cap", gathered.context_cap),
                ("threads_missed", gathered.threads_missed),
                ("signal_blocked", gathered.signal_blocked),
            ],
            cpu_time: Duration::from_nanos(cpu_end_ns.saturating_sub(self.cpu_start_ns)),
            started: self.started,
            duration,
            period: 1_000_000_000 / i64::from(self.hz),
        };
        Ok(Profile::new(Kind::Cpu, gathered.into_raw(), stats, lines))
    }

    /// Ends sampling once; `None` the second time.
    fn end(&mut self) -> Option<Gathered> {
        drop(self.stop.take()?);
        self.drain.take()?.join().ok()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// Room for what all cores sample in a tenth of a second, five times the drain's interval.
fn slots(hz: u32) -> usize {
    let cores = std::thread::available_parallelism().map_or(4, usize::from);
    (hz as usize * cores / 10).clamp(128, 8192)
}
