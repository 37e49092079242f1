//! The highest rung: a cpu-clock event on every thread that raises SIGTRAP synchronously in the thread whose time ran
//! out (`attr.sigtrap`, Linux 5.13). New threads inherit it, so none is missed, and nothing is mapped.

use std::collections::HashSet;

use super::handler::{self, Weight};
use super::perf_event::{PerfEvent, spare_descriptors};
use super::rung::Trigger;
use super::signal::{self, Former};
use super::{roll, tasks};
use crate::error::Error;

/// Comes back in the signal's information, by which our samples are told from other traps.
const MARK: u64 = 0x5374_6167_656c_6974;

/// `si_code` of a trap by a perf event.
const TRAP_PERF: libc::c_int = 6;

static FORMER: Former = Former::new();

pub(super) struct PerfSigtrap {
    events: Vec<(i32, PerfEvent)>,
    user_only: bool,
}

impl PerfSigtrap {
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
        let mut perf = Self { events: Vec::new(), user_only };
        perf.open_all(period_ns)?;
        for (_, event) in &perf.events {
            event.enable().map_err(|error| Error::Io("a perf event can't be enabled".into(), error))?;
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
                    Ok(event) => {
                        // A first sample may be late, where the thread blocks the signal for a while.
                        roll::enter(tid, tasks::thread_cpu_ns(tid).unwrap_or(0));
                        self.events.push((tid, event));
                    }
                    // The thread ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) => return Err(Error::Io("perf_event_open".into(), error)),
                }
            }
        }
        Ok(())
    }
}

impl Trigger for PerfSigtrap {
    fn name(&self) -> &'static str {
        if self.user_only { "perf-sigtrap-user" } else { "perf-sigtrap" }
    }

    fn limits(&self) -> &'static str {
        if self.user_only {
            "user code alone is interrupted: time in the kernel is a frame of its own, with the labels of the sample after \
             it; a thread that lives shorter than a period gets no sample"
        } else {
            "a thread that lives shorter than a period gets no sample"
        }
    }

    fn signal(&self) -> libc::c_int {
        libc::SIGTRAP
    }

    fn blind_to_kernel(&self) -> bool {
        self.user_only
    }
}

impl Drop for PerfSigtrap {
    fn drop(&mut self) {
        self.events.iter().for_each(|&(tid, _)| roll::leave(tid));
    }
}

/// The running kernel's version; (0, 0) if it does not say.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn open(tid: i32, period_ns: u64, user_only: bool) -> std::io::Result<PerfEvent> {
    let mut attr = PerfEvent::attributes(period_ns, user_only);
    attr.sig_data = MARK;
    attr.set_inherit(1);
    attr.set_inherit_thread(1);
    attr.set_sigtrap(1);
    // After `exec` the signal would meet a program without a handler.
    attr.set_remove_on_exec(1);
    PerfEvent::open(tid, attr)
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
