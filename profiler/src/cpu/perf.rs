//! The perf rung: a cpu-clock event on every thread that raises SIGTRAP synchronously in the thread whose time ran
//! out (`attr.sigtrap`, Linux 5.13). New threads inherit it, so none is missed, and nothing is mapped.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use perf_event_open_sys::{bindings, ioctls};

use super::handler::{self, Weight};
use super::signal::{self, Former};
use super::tasks;
use crate::error::Error;

/// Comes back in the signal's information, by which our samples are told from other traps.
const MARK: u64 = 0x5374_6167_656c_6974;

/// `si_code` of a trap by a perf event.
const TRAP_PERF: libc::c_int = 6;

static FORMER: Former = Former::new();

pub(super) struct Perf {
    events: Vec<OwnedFd>,
    user_only: bool,
    threads_missed: u64,
}

impl Perf {
    pub(super) fn start(period_ns: u64) -> Result<Self, Error> {
        if tasks::traced() {
            return Err(Error::Refused("a debugger is attached, which would stop at every sample".into()));
        }
        if kernel() < (6, 1) {
            return Err(Error::Refused(
                "a kernel before 6.1 may kill a process whose thread blocks SIGTRAP as its sample falls due"
                    .into(),
            ));
        }
        spare_descriptors()?;
        signal::install(libc::SIGTRAP, on_trap, &FORMER)?;
        // With the kernel's time if that is permitted: else samples fall on user code alone, and weigh what the
        // thread spent in the kernel as well.
        let user_only = match open(tasks::own(), period_ns, false) {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => true,
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => true,
            Err(error) => return Err(Error::Io("perf_event_open".into(), error)),
        };
        let mut perf = Self { events: Vec::new(), user_only, threads_missed: 0 };
        perf.open_all(period_ns)?;
        for event in &perf.events {
            // SAFETY: a call on an event of ours. `REFRESH` hangs some kernels; this does not.
            if unsafe { ioctls::ENABLE(event.as_raw_fd(), 0) } != 0 {
                return Err(Error::last("a perf event can't be enabled"));
            }
        }
        Ok(perf)
    }

    /// Opens an event on each thread. Threads that one with an event starts inherit it; those that one without starts
    /// meanwhile are found by looking again. A thread that has both samples twice as often, each for half the weight.
    fn open_all(&mut self, period_ns: u64) -> Result<(), Error> {
        let mut seen = HashSet::new();
        // A few looks find the children of threads that were not reached yet; a process that goes on making threads
        // that fast has them inherit by then.
        for _ in 0..4 {
            let new: Vec<i32> = tasks::list().into_iter().filter(|&tid| seen.insert(tid)).collect();
            if new.is_empty() {
                break;
            }
            for tid in new {
                match open(tid, period_ns, self.user_only) {
                    Ok(event) => self.events.push(event),
                    // The thread ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) if self.events.is_empty() => {
                        return Err(Error::Io("perf_event_open".into(), error));
                    }
                    Err(_) => self.threads_missed += 1,
                }
            }
        }
        Ok(())
    }

    pub(super) fn user_only(&self) -> bool {
        self.user_only
    }

    pub(super) fn threads_missed(&self) -> u64 {
        self.threads_missed
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        for event in &self.events {
            // SAFETY: a call on an event of ours. If it fails, closing the event ends it all the same.
            unsafe { ioctls::DISABLE(event.as_raw_fd(), 0) };
        }
    }
}

/// The running kernel's version; (0, 0) if it does not say.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Refuses where an event a thread would take more than half of the descriptors that the host has left.
fn spare_descriptors() -> Result<(), Error> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the place to write to is ours.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let (free, threads) = (limit.rlim_cur.saturating_sub(open), tasks::list().len() as u64);
    if threads <= free / 2 {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{threads} threads want a descriptor each, and RLIMIT_NOFILE leaves the process {free}"
    )))
}

fn open(tid: i32, period_ns: u64, user_only: bool) -> std::io::Result<OwnedFd> {
    let mut attr = bindings::perf_event_attr::default();
    attr.type_ = bindings::PERF_TYPE_SOFTWARE;
    attr.size = size_of::<bindings::perf_event_attr>() as u32;
    attr.config = u64::from(bindings::PERF_COUNT_SW_CPU_CLOCK);
    attr.sig_data = MARK;
    attr.__bindgen_anon_1.sample_period = period_ns;
    attr.set_disabled(1);
    attr.set_inherit(1);
    attr.set_inherit_thread(1);
    attr.set_sigtrap(1);
    // After `exec` the signal would meet a program without a handler.
    attr.set_remove_on_exec(1);
    attr.set_exclude_kernel(u64::from(user_only));
    attr.set_exclude_hv(1);
    let flags = bindings::PERF_FLAG_FD_CLOEXEC;
    // SAFETY: `attr` is filled in and outlives the call.
    let fd = unsafe { perf_event_open_sys::perf_event_open(&mut attr, tid, -1, -1, u64::from(flags)) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the call returned a new descriptor, which is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

extern "C" fn on_trap(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    /// Where the kernel puts `sig_data` in a trap's information on 64-bit Linux.
    const SIG_DATA_OFFSET: usize = 24;
    // SAFETY: the kernel hands a whole `siginfo_t`, larger than the offset, to a handler with `SA_SIGINFO`.
    let (code, mark) =
        unsafe { ((*info).si_code, info.byte_add(SIG_DATA_OFFSET).cast::<u64>().read_unaligned()) };
    if code == TRAP_PERF && mark == MARK {
        // SAFETY: `context` is this handler's third argument.
        unsafe { handler::sample(Weight::SinceLast, context) };
    } else {
        FORMER.forward(signal, info, context);
    }
}
