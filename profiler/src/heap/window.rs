//! A window in which all that the allocator samples is counted. One at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::live;
use super::tally::Tally;
use super::tier::{self, Tier};
use super::told::{self, Samples};
use crate::error::Error;
use crate::profile::{Kind, Profile, ProfileStats};
use crate::running::Running;
use crate::stopped::{self, Watch};

/// Between two looks at the ring, which holds 400,000 samples a second: at one in 512 KiB, those of 200 GiB. So it bears it that the
/// thread which looks must wait for a core.
const LOOK: Duration = Duration::from_millis(10);
const SLOTS: usize = 4096;

/// Who has the window.
static TAKEN: Mutex<Option<Running>> = Mutex::new(None);

/// Bytes of the ring.
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes that a window uses at present, without what it gathered.
pub(super) fn bytes() -> usize {
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
    tier: &'static dyn Tier,
    interval: u64,
    /// Closes the window when it is dropped.
    open: Sender<()>,
    drain: JoinHandle<Tally>,
}

impl Window {
    pub(super) fn open(owner: String, duration: Option<Duration>) -> Result<Self, Error> {
        let unsupported = |reason: String| Error::Unsupported(format!("no allocation profile: {reason}"));
        let tier = tier::active().map_err(unsupported)?;
        let turn = Turn::take(owner, duration)?;
        // From here on nobody switches sampling or its rate.
        let rate = tier.rate().map_err(unsupported)?;
        if !rate.on {
            return Err(unsupported(tier::SWITCHED_OFF.into()));
        }
        let interval = rate.interval;
        let samples = Samples::new(SLOTS);
        let ring_bytes = samples.bytes();
        let (open, closed) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let drain = std::thread::Builder::new()
            .name("stagelight-heap".into())
            .spawn(move || {
                stagelight::__private::count_own_thread();
                let _turn = turn;
                // What counting itself allocates is nobody's.
                tier.leave_out_this_thread();
                // Whoever waits for it is there.
                let _ = begin.send(());
                run(tier, interval, &closed)
            })
            .map_err(|error| Error::Io("no thread for an allocation profile".into(), error))?;
        // From here on the drain runs, so that its start does not count. If it has died, `finish` says so.
        let _ = begun.recv();
        let (started, start) = (SystemTime::now(), Instant::now());
        BYTES.store(ring_bytes, Ordering::Relaxed);
        told::begin(samples);
        // The drain closes what was opened, as `open` is dropped.
        tier.tell(true).map_err(unsupported)?;
        Ok(Self { started, start, tier, interval, open, drain })
    }

    /// Closes it and gives what was allocated.
    pub(super) fn finish(self, lines: bool) -> Result<Profile, Error> {
        let Self { started, start, tier, interval, open, drain } = self;
        drop(open);
        let tally = drain.join().map_err(|_| {
            let panicked = std::io::Error::other("its thread panicked");
            Error::Io("the allocation profile was not finished".into(), panicked)
        })?;
        let stats = ProfileStats {
            rung: tier.name(),
            rung_limits: String::new(),
            rungs_refused: live::refused(tier),
            notes: Vec::new(),
            stopped: tally.stopped,
            samples: tally.samples,
            complete_stacks: tally.complete,
            thinned: 0,
            dropped: vec![("ring_full", tally.ring_full), ("stack_cap", tally.stack_cap)],
            cpu_time: Duration::ZERO,
            own_threads: Duration::ZERO,
            own_samples: 0,
            own_functions: Duration::ZERO,
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
fn run(tier: &dyn Tier, interval: u64, closed: &Receiver<()>) -> Tally {
    let mut tally = Tally::new(interval);
    let mut take = |samples: &Samples| {
        samples.take_all(|stack, bytes| tally.add(stack, bytes));
        tally.ring_full = samples.refused();
    };
    let (mut watch, mut looked) = (Watch::new(), Instant::now());
    loop {
        let since = Instant::now();
        let heard = closed.recv_timeout(LOOK);
        watch.waited(LOOK, since.elapsed());
        if heard != Err(RecvTimeoutError::Timeout) {
            break;
        }
        told::look(&mut take);
        if looked.elapsed() >= stopped::LOOK {
            watch.look();
            looked = Instant::now();
        }
    }
    // If the allocator goes on telling, nobody listens.
    let _ = tier.tell(false);
    told::end(take);
    BYTES.store(0, Ordering::Relaxed);
    tally.stopped = watch.take();
    tally
}
