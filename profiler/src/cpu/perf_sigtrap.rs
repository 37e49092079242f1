//! The highest rung: a cpu-clock event on every thread that raises SIGTRAP synchronously in the thread whose time ran
//! out. New threads inherit it, so none is missed.

use super::events::{self, Events, Spec};
use super::perf_event::Source;
use super::rung::Trigger;
use super::{roll, sigtrap, tasks};
use crate::clock;
use crate::error::Error;

/// By which the signals of an event that sees user code alone are told from others.
pub(super) const USER_MARK: u64 = 2;

pub(super) struct PerfSigtrap {
    events: Events,
    user_only: bool,
}

impl PerfSigtrap {
    pub(super) fn start(period_ns: u64) -> Result<Self, Error> {
        sigtrap::prepare(1)?;
        let mark = |user_only| if user_only { USER_MARK } else { 0 };
        let spec = |user_only| Spec {
            source: Source::CPU_CLOCK,
            period: period_ns,
            mark: mark(user_only),
            user_only,
        };
        let failed = |error| Error::Io("perf_event_open".into(), error);
        // With the kernel's time if that is permitted: else samples fall on user code alone, and weigh what the
        // thread spent in the kernel as well.
        let user_only = match events::open(tasks::own(), spec(false)) {
            Ok(_) => false,
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => true,
            Err(error) => return Err(failed(error)),
        };
        let mut events = Events::open(spec(user_only)).map_err(failed)?;
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
        self.events.threads().for_each(roll::leave);
    }
}
