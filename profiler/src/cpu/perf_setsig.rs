//! The second rung: a cpu-clock event on every thread whose descriptor sends SIGURG to the thread
//! (`F_SETSIG` and
//! `F_SETOWN_EX`). For kernels before 6.1, and where a debugger is attached: it lets SIGURG pass.
//!
//! Threads don't inherit such an event: the signal of a child's would go to its parent. So they are followed. Only user
//! code is interrupted: the signal is sent by the kernel's timer, and one that it sent within a system call would have
//! a call that is about to wait end with `EINTR`.

use std::collections::HashMap;
use std::io;

use super::follow::{self, PerThread};
use super::perf_event::{PerfEvent, Source, spare_descriptors};
use super::rung::Trigger;
use super::{roll, sigurg};
use crate::clock;
use crate::error::Error;

/// `fcntl`'s call to say whom a descriptor signals, and that it is a thread.
const F_SETOWN_EX: libc::c_int = 15;
const F_OWNER_TID: libc::c_int = 0;
const F_SETSIG: libc::c_int = 10;

pub(super) struct PerfSetsig(());

impl PerfSetsig {
    pub(super) fn start(period_ns: u64) -> Result<Self, Error> {
        let budget = spare_descriptors(1)?;
        sigurg::install()?;
        let events = Events { period_ns, by_thread: HashMap::new() };
        follow::start(Box::new(events), budget)
            .map_err(|error| Error::Io("perf_event_open, F_SETSIG".into(), error))?;
        Ok(Self(()))
    }
}

impl Trigger for PerfSetsig {
    fn name(&self) -> &'static str {
        "perf-setsig"
    }

    fn limits(&self) -> &'static str {
        "user code alone is interrupted, so that no waiting call ends early: time in the kernel is a frame of its \
         own, with the labels of the sample after it; a thread that enters no stage is found up to a tenth of a second late, and that time counts with \
         its first sample"
    }

    fn signal(&self) -> libc::c_int {
        libc::SIGURG
    }

    fn blind_to_kernel(&self) -> bool {
        true
    }

    fn tend(&mut self) {
        follow::tend();
    }

    fn threads_missed(&self) -> u64 {
        follow::missed()
    }
}

impl Drop for PerfSetsig {
    fn drop(&mut self) {
        follow::stop();
    }
}

struct Events {
    period_ns: u64,
    by_thread: HashMap<i32, PerfEvent>,
}

impl PerThread for Events {
    fn add(&mut self, tid: i32, new: bool) -> io::Result<()> {
        let mut attr = PerfEvent::attributes(Source::CPU_CLOCK, self.period_ns, true);
        // A child that was forked may hold the descriptor beyond the host's `exec`. Linux before
        // 5.13 can't.
        attr.set_remove_on_exec(1);
        let event = PerfEvent::open(tid, attr).or_else(|_| {
            attr.set_remove_on_exec(0);
            PerfEvent::open(tid, attr)
        })?;
        signal_thread(&event, tid)?;
        // Before the first signal. If the roll is full, the first sample weighs a period.
        roll::enter(tid, if new { 0 } else { clock::thread_cpu_ns(tid)? });
        event.enable()?;
        self.by_thread.insert(tid, event);
        Ok(())
    }

    fn remove(&mut self, tid: i32) {
        self.by_thread.remove(&tid);
        roll::leave(tid);
    }
}

/// Has the event send its thread a signal each time it overflows.
fn signal_thread(event: &PerfEvent, tid: i32) -> io::Result<()> {
    #[repr(C)]
    struct Owner {
        kind: libc::c_int,
        id: libc::pid_t,
    }
    let owner = Owner { kind: F_OWNER_TID, id: tid };
    // SAFETY: calls on a descriptor of ours; the structure outlives the call that reads it.
    let failed = unsafe {
        libc::fcntl(event.fd(), F_SETOWN_EX, &raw const owner) != 0
            || libc::fcntl(event.fd(), F_SETSIG, libc::SIGURG) != 0
            || libc::fcntl(event.fd(), libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}
