//! The ctimer rung: a POSIX timer on each thread's CPU clock. Needs no permission, so it is what containers get.
//!
//! The kernel looks at these timers at its own tick (250 times a second on many machines); expirations that it had
//! no tick for come as the signal's overrun, by which the sample weighs more. Totals stay right at any rate.

use std::collections::HashMap;
use std::io;

use super::follow::{self, PerThread};
use super::random::Random;
use super::rung::Trigger;
use super::{roll, sigurg, tasks};
use crate::clock;
use crate::error::Error;

/// Comes back in the signal's information, by which our timers are told from the host's.
const MARK: usize = 0x5374_6167_656c_6974;

pub(super) struct Ctimer(());

impl Ctimer {
    pub(super) fn start(period_ns: u64) -> Result<Self, Error> {
        let budget = spare_signals()?;
        sigurg::install()?;
        let timers = Timers { period_ns, by_thread: HashMap::new(), random: Random::new() };
        follow::start(Box::new(timers), budget).map_err(|error| Error::Io("timer_create".into(), error))?;
        Ok(Self(()))
    }
}

impl Trigger for Ctimer {
    fn name(&self) -> &'static str {
        "ctimer"
    }

    fn limits(&self) -> &'static str {
        "samples fall on the kernel's ticks, mostly 250 a second, and weigh the periods since the last; a call that waits \
         may end early with EINTR; a thread that enters no stage is found up to a tenth of a second late, and that time \
         counts with its first sample"
    }

    fn signal(&self) -> libc::c_int {
        libc::SIGURG
    }

    fn tend(&mut self) {
        follow::tend();
    }

    fn threads_missed(&self) -> u64 {
        follow::missed()
    }
}

impl Drop for Ctimer {
    fn drop(&mut self) {
        follow::stop();
    }
}

/// How many timers there may be: each holds one of the signals that the host's user may have pending, and half of those
/// that are left stay the host's. Refuses if the threads there are want more.
fn spare_signals() -> Result<usize, Error> {
    let Some((pending, limit)) = tasks::pending_signals() else {
        // A kernel that does not say. Where the limit is reached, timers are refused one by one.
        return Ok(usize::MAX);
    };
    let (free, threads) = (limit.saturating_sub(pending), tasks::list().len() as u64);
    if threads <= free / 2 {
        return Ok(usize::try_from(free / 2).unwrap_or(usize::MAX));
    }
    Err(Error::Refused(format!(
        "{threads} threads want a timer each, and RLIMIT_SIGPENDING leaves the process {free}"
    )))
}

struct Timers {
    period_ns: u64,
    by_thread: HashMap<i32, libc::c_int>,
    random: Random,
}

impl PerThread for Timers {
    fn add(&mut self, tid: i32, new: bool) -> io::Result<()> {
        // A first expiry at random within the period, so that short threads are sampled in proportion.
        let first_ns = 1 + self.random.below(self.period_ns);
        let timer = create(tid)?;
        // What a new thread used before it was found counts with its first sample. If the roll is full, it is lost.
        roll::enter(tid, if new { clock::thread_cpu_ns(tid).unwrap_or(0) } else { 0 });
        let interval = timespec(self.period_ns);
        let times = libc::itimerspec { it_interval: interval, it_value: timespec(first_ns) };
        // SAFETY: a timer that was just made, and a structure of ours.
        let set = unsafe { libc::syscall(libc::SYS_timer_settime, timer, 0, &raw const times, 0_usize) };
        if set != 0 {
            let error = io::Error::last_os_error();
            delete(timer);
            roll::leave(tid);
            return Err(error);
        }
        self.by_thread.insert(tid, timer);
        Ok(())
    }

    fn remove(&mut self, tid: i32) {
        if let Some(timer) = self.by_thread.remove(&tid) {
            delete(timer);
        }
        roll::leave(tid);
    }
}

fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// A timer on another thread's CPU clock that signals that thread. The C library's function can't name the clock,
/// so the system call is made directly.
fn create(tid: i32) -> io::Result<libc::c_int> {
    // SAFETY: all-zero is a valid `sigevent`.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGURG;
    event.sigev_notify_thread_id = tid;
    event.sigev_value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(MARK) };
    let mut timer: libc::c_int = 0;
    // SAFETY: both structures are ours and outlive the call.
    match unsafe {
        libc::syscall(libc::SYS_timer_create, clock::thread_cpu_clock(tid), &raw mut event, &raw mut timer)
    } {
        0 => Ok(timer),
        _ => Err(io::Error::last_os_error()),
    }
}

fn delete(timer: libc::c_int) {
    // SAFETY: a timer that `create` made and that is deleted once.
    unsafe { libc::syscall(libc::SYS_timer_delete, timer) };
}

/// How many periods a timer of ours counted, if the signal is of one. Async-signal-safe.
///
/// # Safety
/// `info` is what the kernel handed to a handler with `SA_SIGINFO`.
pub(super) unsafe fn periods(info: *const libc::siginfo_t) -> Option<u64> {
    /// Where the kernel puts a timer's overrun and value on 64-bit Linux.
    const OVERRUN_OFFSET: usize = 20;
    const VALUE_OFFSET: usize = 24;
    // SAFETY: by the caller's promise; a `siginfo_t` is larger than the offsets.
    let (code, overrun, value) = unsafe {
        (
            (*info).si_code,
            info.byte_add(OVERRUN_OFFSET).cast::<i32>().read_unaligned(),
            info.byte_add(VALUE_OFFSET).cast::<usize>().read_unaligned(),
        )
    };
    (code == libc::SI_TIMER && value == MARK).then(|| 1 + u64::try_from(overrun).unwrap_or(0))
}
