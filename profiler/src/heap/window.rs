//! A window in which all that jemalloc samples is counted. One at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::activation::{self, Active};
use super::sampled::{self, Samples};
use super::tally::Tally;
use super::{jemalloc, live};
use crate::error::Error;
use crate::profile::{Kind, Profile, ProfileStats};
use crate::running::Running;

/// Between two looks at the ring, which holds 400,000 samples a second: at one in 512 KiB, those of 200 GiB. So it bears it that the
/// thread which looks must wait for a core.
const LOOK: Duration = Duration::from_millis(10);
const SLOTS: usize = 4096;

/// Who has the window.
static TAKEN: Mutex<Option<Running>> = Mutex::new(None);

/// Bytes of the ring.
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes that a window uses at present, without what it gathered.
pub(crate) fn bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

fn taken() -> MutexGuard<'static, Option<Running>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees that no window is open. None is opened while what this gives is there.
pub(super) fn none_open() -> Result<impl Drop, Error> {
    let taken = taken();
    taken.as_ref().map_or(Ok(()), |taken| Err(taken.busy()))?;
    Ok(taken)
}

/// The right to the window.
struct Turn(());

impl Turn {
    fn take(owner: String, duration: Option<Duration>) -> Result<Self, Error> {
        let mut taken = taken();
        taken.as_ref().map_or(Ok(()), |taken| Err(taken.busy()))?;
        *taken = Some(Running::new("an allocation profile", owner, duration));
        Ok(Self(()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *taken() = None;
    }
}

/// A window that is open. Dropping it closes it.
pub(super) struct Window {
    started: SystemTime,
    start: Instant,
    active: &'static Active,
    interval: u64,
    /// Closes the window when it is dropped.
    open: Sender<()>,
    drain: JoinHandle<Tally>,
}

impl Window {
    pub(super) fn open(owner: String, duration: Option<Duration>) -> Result<Self, Error> {
        let unsupported = |reason: String| Error::Unsupported(format!("no allocation profile: {reason}"));
        let active = activation::active().map_err(unsupported)?;
        active.allocations_told.clone().map_err(unsupported)?;
        let turn = Turn::take(owner, duration)?;
        // From here on nobody switches sampling or its rate.
        // SAFETY: the manual gives `bool`.
        if !unsafe { jemalloc::read::<bool>(c"prof.active") }.map_err(unsupported)? {
            return Err(unsupported("sampling is switched off, by `sample_heap`".into()));
        }
        let interval = jemalloc::interval().map_err(unsupported)?;
        let samples = Samples::new(SLOTS);
        let ring_bytes = samples.bytes();
        let (open, closed) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let drain = std::thread::Builder::new()
            .name("stagelight-heap".into())
            .spawn(move || {
                let _turn = turn;
                // What counting itself allocates is nobody's. If that can't be had, it is counted.
                // SAFETY: the manual gives `bool`.
                let _ = unsafe { jemalloc::write(c"thread.prof.active", false) };
                // Whoever waits for it is there.
                let _ = begin.send(());
                run(interval, &closed)
            })
            .map_err(|error| Error::Io("no thread for an allocation profile".into(), error))?;
        // From here on the drain runs, so that its start does not count. If it has died, `finish` says so.
        let _ = begun.recv();
        let (started, start) = (SystemTime::now(), Instant::now());
        BYTES.store(ring_bytes, Ordering::Relaxed);
        // The drain closes what was opened, as `open` is dropped.
        sampled::start(samples).map_err(unsupported)?;
        Ok(Self { started, start, active, interval, open, drain })
    }

    /// Closes it and gives what was allocated.
    pub(super) fn finish(self, lines: bool) -> Result<Profile, Error> {
        let Self { started, start, active, interval, open, drain } = self;
        drop(open);
        let tally = drain.join().map_err(|_| {
            let panicked = std::io::Error::other("its thread panicked");
            Error::Io("the allocation profile was not finished".into(), panicked)
        })?;
        let stats = ProfileStats {
            rung: format!("jemalloc with {}", active.unwinder),
            rung_limits: String::new(),
            rungs_refused: active.own_unwinder_refused.iter().cloned().collect(),
            samples: tally.samples,
            complete_stacks: tally.complete,
            thinned: 0,
            dropped: vec![("ring_full", tally.ring_full), ("stack_cap", tally.stack_cap)],
            cpu_time: Duration::ZERO,
            started,
            duration: start.elapsed(),
            period: interval as i64,
        };
        // Where a look at the live heap fails, what was allocated is told all the same.
        let held = live::take().ok().map(live::Live::into_sums);
        Ok(live::finish(Kind::Allocations, tally.into_sums(), held, stats, lines))
    }
}

/// Counts until the window is closed.
fn run(interval: u64, closed: &Receiver<()>) -> Tally {
    let mut tally = Tally::new(interval);
    let mut take = |samples: &Samples| {
        samples.take_all(|stack, bytes| tally.add(stack, bytes));
        tally.ring_full = samples.refused();
    };
    while closed.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        sampled::look(&mut take);
    }
    sampled::stop(take);
    BYTES.store(0, Ordering::Relaxed);
    tally
}
