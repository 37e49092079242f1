//! The highest rung once more, for profiles with the functions of the kernel: a cpu-clock event on every thread that raises
//! SIGTRAP in the thread whose time ran out, and has the kernel write down what it was doing then.
//!
//! That takes a ring, which an event that threads inherit can't have. So each thread has an event of its own, and is
//! followed.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use perf_event_open_sys::bindings;

use super::exec_guard::ExecGuard;
use super::follow::{self, PerThread};
use super::handler::{self, Weight};
use super::kernel_records::Chain;
use super::kernel_ring::{self, NO_PLACE_MARK, Place};
use super::perf_event::{self, PerfEvent, Source, spare_descriptors};
use super::rung::Trigger;
use super::{roll, sigtrap};
use crate::clock;
use crate::error::Error;

/// Threads of the running profile that have no ring, and those that have or had one.
static WITHOUT: AtomicU64 = AtomicU64::new(0);
static WITH: AtomicU64 = AtomicU64::new(0);

pub(super) struct PerfKernel {
    /// Call chains that were lost before it began.
    lost_before: u64,
}

impl PerfKernel {
    pub(super) fn start(period_ns: u64) -> Result<Self, Error> {
        sigtrap::prepare(1)?;
        let budget = spare_descriptors(1)?;
        let refused = |error| Error::Refused(perf_event::what_it_takes(&error));
        let guard = ExecGuard::for_kernel().map_err(refused)?;
        WITHOUT.store(0, Ordering::Relaxed);
        WITH.store(0, Ordering::Relaxed);
        let threads = Threads { period_ns, guard, by_thread: HashMap::new(), without: HashSet::new() };
        follow::start(Box::new(threads), budget).map_err(refused)?;
        // From here on dropping it ends it.
        let perf = Self { lost_before: kernel_ring::lost() };
        if WITH.load(Ordering::Relaxed) == 0 {
            return Err(Error::Refused(
                "no event's ring can be mapped, which takes 8 KiB of locked memory a thread (RLIMIT_MEMLOCK, \
                 kernel.perf_event_mlock_kb, or CAP_IPC_LOCK)"
                    .into(),
            ));
        }
        Ok(perf)
    }
}

impl Trigger for PerfKernel {
    fn name(&self) -> &'static str {
        "perf-sigtrap-kernel"
    }

    fn limits(&self) -> &'static str {
        "a thread that lives shorter than a period gets no sample; one that enters no stage is found up to a tenth of a second \
         late, and that time counts with its first sample"
    }

    fn signal(&self) -> libc::c_int {
        libc::SIGTRAP
    }

    fn tend(&mut self) {
        follow::tend();
    }

    fn threads_missed(&self) -> u64 {
        follow::missed()
    }

    fn dropped(&self) -> Vec<(&'static str, u64)> {
        let lost = kernel_ring::lost() - self.lost_before;
        vec![("kernel_frames_missed", WITHOUT.load(Ordering::Relaxed)), ("kernel_frames_lost", lost)]
    }
}

impl Drop for PerfKernel {
    fn drop(&mut self) {
        follow::stop();
    }
}

struct Threads {
    period_ns: u64,
    guard: ExecGuard,
    by_thread: HashMap<i32, Sampled>,
    /// Those that got no ring, so that each is counted once.
    without: HashSet<i32>,
}

/// What a thread is sampled by. In this order: the kernel writes no more once the event is gone.
struct Sampled {
    event: PerfEvent,
    ring: Option<Place>,
}

impl PerThread for Threads {
    fn add(&mut self, tid: i32, new: bool) -> io::Result<()> {
        let place = Place::claim();
        let event = open(tid, self.period_ns, place.as_ref().map_or(NO_PLACE_MARK, Place::mark))?;
        self.guard.attach(&event)?;
        let ring = place.filter(|place| place.map(&event, tid).is_ok());
        let sampled = Sampled { event, ring };
        if sampled.ring.is_some() {
            WITH.fetch_add(1, Ordering::Relaxed);
        } else if self.without.insert(tid) {
            WITHOUT.fetch_add(1, Ordering::Relaxed);
        }
        // Before the first signal. If the roll is full, the first sample weighs a period.
        roll::enter(tid, if new { 0 } else { clock::thread_cpu_ns(tid)? });
        sampled.event.enable().inspect_err(|_| roll::leave(tid))?;
        self.by_thread.insert(tid, sampled);
        Ok(())
    }

    fn remove(&mut self, tid: i32) {
        self.by_thread.remove(&tid);
        roll::leave(tid);
    }
}

fn open(tid: i32, period_ns: u64, mark: u64) -> io::Result<PerfEvent> {
    let mut attr = PerfEvent::attributes(Source::CPU_CLOCK, period_ns, false);
    attr.sig_data = sigtrap::MARK.wrapping_add(mark);
    attr.sample_type = u64::from(bindings::PERF_SAMPLE_CALLCHAIN);
    // The program's own part is walked by its tables.
    attr.set_exclude_callchain_user(1);
    attr.set_sigtrap(1);
    // After `exec` the signal would meet a program without a handler. Within it the guard keeps it
    // back.
    attr.set_remove_on_exec(1);
    PerfEvent::open(tid, attr)
}

/// Takes a sample of the calling thread, with what the kernel was doing for it.
///
/// # Safety
/// `context` is the third argument of the running handler.
pub(super) unsafe fn on_sample(mark: u64, context: *const libc::c_void) {
    let mut chain = Chain::new();
    let kernel = kernel_ring::take(mark, &mut chain);
    // SAFETY: by the caller's promise.
    unsafe { handler::sample_within(Weight::SinceLast, kernel, context) };
}
