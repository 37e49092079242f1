//! One profile of this module's kinds from its start to its end. One runs at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::drain::{self, Cut, Gathered};
use super::handler::{self, Recorder};
use super::rung;
use super::turn::Turn;
use super::{Chosen, Counter, Totals, What};
use super::{kernel_note, kernel_ring, past, ring, switches, thinning, walker};
use crate::clock;
use crate::error::Error;
use crate::focus::Focus;
use crate::profile::{Profile, ProfileStats, RawProfile};
use crate::thread_name;
use crate::unwind;

static CHOSEN: Mutex<Option<Chosen>> = Mutex::new(None);

/// Bytes of the running profile's ring.
static RING_BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes that sampling uses at present.
pub(crate) fn bytes() -> usize {
    RING_BYTES.load(Ordering::Relaxed) as usize + kernel_ring::bytes() + unwind::bytes()
}

/// What all profiles so far came to, the running one included.
pub(crate) fn totals() -> Totals {
    Totals {
        taken: handler::TAKEN.load(Ordering::Relaxed),
        kept: handler::KEPT.load(Ordering::Relaxed),
        ring_full: handler::RING_FULL.load(Ordering::Relaxed),
        thinned: switches::THINNED.load(Ordering::Relaxed),
        late: handler::LATE.load(Ordering::Relaxed),
        handler: Duration::from_nanos(handler::HANDLER_NS.load(Ordering::Relaxed)),
    }
}

/// The rung that the running or else the last CPU profile was taken on; `None` before the first.
#[cfg(feature = "control")]
pub(crate) fn chosen() -> Option<Chosen> {
    CHOSEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Whether the calling thread is in the sampler's handler.
pub(crate) fn sampling() -> bool {
    handler::sampling()
}

pub(super) struct Session {
    what: What,
    rung: Chosen,
    started: SystemTime,
    start: Instant,
    cpu_start_ns: u64,
    totals_at_start: Totals,
    /// Labels and values that alone are sampled in full.
    only: Vec<(&'static str, String)>,
    asks: Option<Sender<Cut>>,
    drain: Option<JoinHandle<Gathered>>,
    /// Held from the first moment to the last.
    _armed: Armed,
}

/// The right to sample, and the recorder that is armed by it.
struct Armed {
    /// Given back after the recorder is gone.
    _turn: Turn,
}

impl Drop for Armed {
    fn drop(&mut self) {
        // Where the drain did not come to it.
        handler::disarm(|_| ());
        RING_BYTES.store(0, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("what", &self.what)
            .field("rung", &self.rung.name)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn start(what: What, duration: Option<Duration>, owner: String) -> Result<Self, Error> {
        Self::start_in(Turn::take(what.name(), owner, duration)?, what)
    }

    pub(super) fn start_in(turn: Turn, what: What) -> Result<Self, Error> {
        let turn = Armed { _turn: turn };
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        unwind::refresh();
        thread_name::learn_program();
        let ring = ring::new(slots(what));
        RING_BYTES.store(ring.bytes() as u64, Ordering::Relaxed);
        // Before a late signal of the last session can be taken for one of this.
        let totals_at_start = totals();
        handler::arm(Box::new(Recorder {
            ring,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            what,
            started: clock::monotonic_ns(),
            began: OnceLock::new(),
            closing: AtomicBool::new(false),
            only: OnceLock::new(),
        }));
        let cpu_start_ns = clock::process_cpu_ns().unwrap_or(0);
        let (started, start) = (SystemTime::now(), Instant::now());
        let (rung, refused) = rung::start(what)?;
        let chosen = Chosen { name: rung.name(), limits: rung.limits(), refused };
        if matches!(what, What::Cpu { .. }) {
            *CHOSEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(chosen.clone());
        }
        // Last, so that it inherits its trigger where threads do, and needs none of its own; where they are followed, it is found.
        let (asks, asked) = mpsc::channel();
        let drain = std::thread::Builder::new()
            .name("stagelight-cpu".into())
            .spawn(move || {
                stagelight::__private::count_own_thread();
                drain::run(rung, what, &asked)
            })
            .map_err(|error| Error::Io("no thread to drain the samples".into(), error))?;
        Ok(Self {
            what,
            rung: chosen,
            started,
            start,
            cpu_start_ns,
            totals_at_start,
            only: Vec::new(),
            asks: Some(asks),
            drain: Some(drain),
            _armed: turn,
        })
    }

    /// Has only that sampled in full from now on. What was sampled before is left out by its labels as well.
    pub(super) fn only(mut self, focus: Vec<Focus>) -> Self {
        self.only =
            focus.iter().map(|focus| focus.what()).map(|(label, value)| (label, value.to_owned())).collect();
        if !focus.is_empty() {
            handler::with_armed(|recorder| recorder.only.set(focus));
        }
        self
    }

    pub(super) fn rung(&self) -> &str {
        self.rung.name
    }

    /// Ends sampling and gives the profile, symbolized, without what is not in focus.
    pub(super) fn finish(mut self, lines: bool) -> Result<Profile, Error> {
        let only = std::mem::take(&mut self.only);
        Ok(self.finish_whole(lines)?.in_focus(only))
    }

    /// Ends sampling and gives the profile, symbolized. The continuous one, if there is one, knows one of the CPU too.
    pub(super) fn finish_whole(self, lines: bool) -> Result<Profile, Error> {
        let what = self.what;
        let raw = self.finish_raw()?;
        if matches!(what, What::Cpu { .. }) {
            past::offer(&raw);
        }
        Ok(raw.named(what.kind(), lines))
    }

    pub(super) fn finish_raw(self) -> Result<RawProfile, Error> {
        self.gather().map(|(raw, _)| raw)
    }

    /// Ends sampling and gives what was sampled, and the counters if there were some.
    pub(super) fn gather(mut self) -> Result<(RawProfile, Vec<Counter>), Error> {
        let mut gathered = self.end().ok_or_else(ended_early)?;
        // Not when it was asked to end: on a busy machine samples go on for a while.
        let (end, cpu_end_ns) = gathered.end.ok_or_else(ended_early)?;
        let duration = end.saturating_duration_since(self.start);
        let counters = std::mem::take(&mut gathered.counters);
        Ok((self.take(gathered, (duration, cpu_end_ns)), counters))
    }

    /// What was taken since the start or the last cut; sampling goes on.
    pub(super) fn cut(&mut self) -> Result<RawProfile, Error> {
        let (reply, gathered) = mpsc::channel();
        let asks = self.asks.as_ref().ok_or_else(ended_early)?;
        asks.send(Cut(reply)).map_err(|_| ended_early())?;
        let gathered = gathered.recv().map_err(|_| ended_early())?;
        let end = self.now();
        Ok(self.take(gathered, end))
    }

    /// The time since the start or the last cut, and the process's CPU time.
    fn now(&self) -> (Duration, u64) {
        (self.start.elapsed(), clock::process_cpu_ns().unwrap_or(0))
    }

    /// The profile of what was gathered until `end`; the next begins now.
    fn take(&mut self, mut gathered: Gathered, (duration, cpu_end_ns): (Duration, u64)) -> RawProfile {
        let totals = totals();
        let mut dropped = vec![
            ("ring_full", totals.ring_full - self.totals_at_start.ring_full),
            ("stack_cap", gathered.stack_cap),
            ("context_cap", gathered.context_cap),
            ("threads_missed", gathered.threads_missed),
            ("signal_blocked", gathered.signal_blocked),
        ];
        dropped.extend_from_slice(&gathered.dropped);
        let first_waits = switches::first_waits(self.what);
        dropped.extend((first_waits != 0).then_some(("first_waits", first_waits)));
        let complete_stacks = gathered.complete;
        let (notes, stopped) = (std::mem::take(&mut gathered.notes), gathered.stopped);
        let raw = gathered.into_raw();
        let kernel = kernel_note::note(self.what, &self.rung, &raw);
        let stats = ProfileStats {
            rung: self.rung.name.into(),
            rung_limits: self.rung.limits.into(),
            rungs_refused: self.rung.refused.clone(),
            notes: kernel.into_iter().chain(notes).collect(),
            stopped,
            samples: totals.kept - self.totals_at_start.kept,
            complete_stacks,
            thinned: totals.thinned - self.totals_at_start.thinned,
            dropped,
            cpu_time: Duration::from_nanos(cpu_end_ns.saturating_sub(self.cpu_start_ns)),
            own_threads: Duration::from_nanos(walker::own_ns(self.what)),
            own_samples: 0,
            own_functions: Duration::ZERO,
            started: self.started,
            duration,
            period: self.what.period() as i64,
        };
        self.cpu_start_ns = cpu_end_ns;
        (self.started, self.start, self.totals_at_start) = (SystemTime::now(), Instant::now(), totals);
        RawProfile { raw, stats }
    }

    /// Ends sampling once; `None` the second time.
    fn end(&mut self) -> Option<Gathered> {
        drop(self.asks.take()?);
        self.drain.take()?.join().ok()
    }
}

fn ended_early() -> Error {
    Error::Unsupported("the profile's drain thread ended early".into())
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// Room for what is sampled in a fifth of a second or more, ten times the drain's interval: where more threads want to run
/// than there are cores, it waits its turn.
fn slots(what: What) -> usize {
    let cores = std::thread::available_parallelism().map_or(4, usize::from);
    match what {
        What::Cpu { hz, .. } => (hz as usize * cores / 4).clamp(128, 8192),
        What::OffCpu { .. } => thinning::PER_SECOND as usize / 5,
        What::Wall { .. } => walker::PER_SECOND as usize / 5,
        What::Counters => (1024 * cores).clamp(1024, 8192),
    }
}
