//! The highest rung: a cpu-clock event on every thread that raises SIGTRAP synchronously in the thread whose time ran
//! out. New threads inherit it, so none is missed.

use std::io;

use super::events::{Events, Spec};
use super::exec_guard::ExecGuard;
use super::perf_event::{Source, what_it_takes};
use super::rung::Trigger;
use super::{roll, sigtrap};
use crate::clock;
use crate::error::Error;

/// By which the signals of an event that sees user code alone are told from others.
pub(super) const USER_MARK: u64 = 2;

pub(super) struct PerfSigtrap {
    events: Events,
    /// Why user code alone is interrupted, if it is.
    user_only: Option<String>,
}

impl PerfSigtrap {
    pub(super) fn start(period_ns: u64) -> Result<Self, Error> {
        sigtrap::prepare(1)?;
        let failed = |error| Error::Io("perf_event_open".into(), error);
        // With the kernel's time if that is permitted: else samples fall on user code alone, and weigh what the
        // thread spent in the kernel as well.
        let (guard, user_only) = match ExecGuard::for_kernel() {
            Ok(guard) => (Some(guard), None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                (None, Some(format!("perf-sigtrap with the kernel's time: {}", what_it_takes(&error))))
            }
            Err(error) => return Err(failed(error)),
        };
        let mark = if guard.is_some() { 0 } else { USER_MARK };
        let spec = Spec { source: Source::CPU_CLOCK, period: period_ns, mark, kernel: guard.as_ref() };
        let mut events = Events::open(spec).map_err(failed)?;
        if let Some(error) = events.refused.pop() {
            return Err(failed(error));
        }
        let perf = Self { events, user_only };
        for tid in perf.events.threads() {
            // A first sample may be late, where the thread blocks the signal for a while.
            roll::enter(tid, clock::thread_cpu_ns(tid).unwrap_or(0));
        }
        perf.events.enable().map_err(|error| Error::Io("a perf event can't be enabled".into(), error))?;
        Ok(perf)
    }
}

impl Trigger for PerfSigtrap {
    fn name(&self) -> &'static str {
        if self.user_only.is_some() { "perf-sigtrap-user" } else { "perf-sigtrap" }
    }

    fn limits(&self) -> &'static str {
        if self.user_only.is_some() {
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
        self.user_only.is_some()
    }

    fn refused(&self) -> Option<&str> {
        self.user_only.as_deref()
    }
}

impl Drop for PerfSigtrap {
    fn drop(&mut self) {
        self.events.threads().for_each(roll::leave);
    }
}
