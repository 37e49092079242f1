//! The ctimer rung: a POSIX timer on each thread's CPU clock. Needs no permission, so it is what containers get.
//!
//! The kernel looks at these timers at its own tick (250 times a second on many machines); expirations that it had
//! no tick for come as the signal's overrun, by which the sample weighs more. Totals stay right at any rate.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::handler::{self, Weight};
use super::signal::{self, Former};
use super::tasks;
use crate::error::Error;

/// Comes back in the signal's information, by which our timers are told from the host's.
const MARK: usize = 0x5374_6167_656c_6974;

static FORMER: Former = Former::new();

/// The timers of the running profile. A static, because each thread arms its own at its first stage.
static TIMERS: Mutex<Option<Timers>> = Mutex::new(None);

struct Timers {
    period_ns: u64,
    by_thread: HashMap<i32, libc::c_int>,
    /// Threads that got none.
    missed: HashSet<i32>,
    random: u64,
}

pub(super) struct Ctimer(());

impl Ctimer {
    pub(super) fn start(period_ns: u64) -> Result<Self, Error> {
        signal::install(libc::SIGPROF, on_timer, &FORMER)?;
        let random = tasks::cpu_ns(libc::CLOCK_MONOTONIC) | 1;
        let mut timers = Timers { period_ns, by_thread: HashMap::new(), missed: HashSet::new(), random };
        timers.add(tasks::own()).map_err(|error| Error::Io("timer_create".into(), error))?;
        *TIMERS.lock().unwrap_or_else(PoisonError::into_inner) = Some(timers);
        let mut ctimer = Self(());
        ctimer.tend();
        stagelight::__private::set_thread_observer(on_first_stage);
        Ok(ctimer)
    }

    /// Gives threads that came a timer and takes away those of threads that ended.
    pub(super) fn tend(&mut self) {
        if let Some(timers) = &mut *TIMERS.lock().unwrap_or_else(PoisonError::into_inner) {
            // Under the lock, so that a thread that arms itself meanwhile is not taken for one that ended.
            let present: HashSet<i32> = tasks::list().into_iter().collect();
            for &tid in &present {
                if !timers.by_thread.contains_key(&tid) && !timers.missed.contains(&tid) {
                    timers.add_or_note(tid);
                }
            }
            timers.by_thread.retain(|tid, timer| {
                let alive = present.contains(tid);
                if !alive {
                    delete(*timer);
                }
                alive
            });
        }
    }

    pub(super) fn threads_missed(&self) -> u64 {
        TIMERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map_or(0, |timers| timers.missed.len() as u64)
    }
}

impl Drop for Ctimer {
    fn drop(&mut self) {
        if let Some(timers) = TIMERS.lock().unwrap_or_else(PoisonError::into_inner).take() {
            timers.by_thread.into_values().for_each(delete);
        }
    }
}

/// So that a thread that lives shorter than the time between two looks is sampled too.
fn on_first_stage(tid: u32) {
    if let Some(timers) = &mut *TIMERS.lock().unwrap_or_else(PoisonError::into_inner) {
        let tid = tid as i32;
        // The id of a thread that ended may be given again before anyone looked.
        if let Some(stale) = timers.by_thread.remove(&tid) {
            delete(stale);
        }
        timers.add_or_note(tid);
    }
}

impl Timers {
    fn add_or_note(&mut self, tid: i32) {
        match self.add(tid) {
            Ok(()) => {}
            // The thread ended between the look and the call.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            Err(_) => {
                self.missed.insert(tid);
            }
        }
    }

    fn add(&mut self, tid: i32) -> std::io::Result<()> {
        // A first expiry at random within the period, so that short threads are sampled in proportion.
        let first_ns = 1 + self.next_random() % self.period_ns;
        let timer = create(tid)?;
        let interval = timespec(self.period_ns);
        let times = libc::itimerspec { it_interval: interval, it_value: timespec(first_ns) };
        // SAFETY: a timer that was just made, and a structure of ours.
        let set = unsafe { libc::syscall(libc::SYS_timer_settime, timer, 0, &raw const times, 0_usize) };
        if set != 0 {
            let error = std::io::Error::last_os_error();
            delete(timer);
            return Err(error);
        }
        self.by_thread.insert(tid, timer);
        Ok(())
    }

    /// Xorshift: unpredictable enough to be out of step with the workload.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// A timer on another thread's CPU clock that signals that thread. The C library's function can't name the clock,
/// so the system call is made directly.
fn create(tid: i32) -> std::io::Result<libc::c_int> {
    // The kernel's number for the CPU clock of one thread: MAKE_THREAD_CPUCLOCK(tid, CPUCLOCK_SCHED).
    let clock = (!tid << 3) | 6;
    // SAFETY: all-zero is a valid `sigevent`.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGPROF;
    event.sigev_notify_thread_id = tid;
    event.sigev_value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(MARK) };
    let mut timer: libc::c_int = 0;
    // SAFETY: both structures are ours and outlive the call.
    match unsafe { libc::syscall(libc::SYS_timer_create, clock, &raw mut event, &raw mut timer) } {
        0 => Ok(timer),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn delete(timer: libc::c_int) {
    // SAFETY: a timer that `create` made and that is deleted once.
    unsafe { libc::syscall(libc::SYS_timer_delete, timer) };
}

extern "C" fn on_timer(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    /// Where the kernel puts a timer's overrun and value on 64-bit Linux.
    const OVERRUN_OFFSET: usize = 20;
    const VALUE_OFFSET: usize = 24;
    // SAFETY: the kernel hands a whole `siginfo_t`, larger than the offsets, to a handler with `SA_SIGINFO`.
    let (code, overrun, value) = unsafe {
        (
            (*info).si_code,
            info.byte_add(OVERRUN_OFFSET).cast::<i32>().read_unaligned(),
            info.byte_add(VALUE_OFFSET).cast::<usize>().read_unaligned(),
        )
    };
    if code == libc::SI_TIMER && value == MARK {
        let periods = 1 + u64::try_from(overrun).unwrap_or(0);
        // SAFETY: `context` is this handler's third argument.
        unsafe { handler::sample(Weight::Periods(periods), context) };
    } else {
        FORMER.forward(signal, info, context);
    }
}
