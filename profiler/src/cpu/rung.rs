//! The ways of triggering samples, from the best down. A profile takes the highest that the machine permits.

use crate::error::Error;

use super::ctimer::Ctimer;
use super::perf::Perf;

/// A running trigger. Dropping it ends it.
pub(super) enum Rung {
    /// A software perf event on each thread that raises SIGTRAP in the thread itself; threads inherit it.
    Perf(Perf),
    /// A POSIX timer on each thread's CPU clock that raises SIGPROF.
    Ctimer(Ctimer),
}

impl Rung {
    /// Starts the highest rung that works, or the one that `STAGELIGHT_CPU_RUNG` names. The second part says why
    /// those above it do not.
    pub(super) fn start(period_ns: u64) -> Result<(Self, Vec<String>), Error> {
        let wish = std::env::var("STAGELIGHT_CPU_RUNG").unwrap_or_default();
        let allowed = |name: &str| wish.is_empty() || wish == "auto" || wish == name;
        if !allowed("perf-sigtrap") && !allowed("ctimer") {
            return Err(Error::Invalid(format!(
                "STAGELIGHT_CPU_RUNG is {wish:?}; it may be auto, perf-sigtrap or ctimer"
            )));
        }
        let mut refused = Vec::new();
        if allowed("perf-sigtrap") {
            match Perf::start(period_ns) {
                Ok(perf) => return Ok((Rung::Perf(perf), refused)),
                Err(error) => refused.push(format!("perf-sigtrap: {error}")),
            }
        }
        if allowed("ctimer") {
            match Ctimer::start(period_ns) {
                Ok(ctimer) => return Ok((Rung::Ctimer(ctimer), refused)),
                Err(error) => refused.push(format!("ctimer: {error}")),
            }
        }
        Err(Error::Refused(format!(
            "no way of taking CPU samples is permitted here: {}. Allow perf_event_open (in a container: its \
             seccomp profile or CAP_PERFMON; else kernel.perf_event_paranoid at 2 or less), or raise \
             RLIMIT_SIGPENDING (ulimit -i) so that each thread can have a timer",
            refused.join("; ")
        )))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Rung::Perf(perf) if perf.user_only() => "perf-sigtrap-user",
            Rung::Perf(_) => "perf-sigtrap",
            Rung::Ctimer(_) => "ctimer",
        }
    }

    /// Whether samples can't fall into the kernel.
    pub(super) fn blind_to_kernel(&self) -> bool {
        matches!(self, Rung::Perf(perf) if perf.user_only())
    }

    /// Looks after threads that came and went. Called every few milliseconds.
    pub(super) fn tend(&mut self) {
        match self {
            // Threads inherit their events.
            Rung::Perf(_) => {}
            Rung::Ctimer(ctimer) => ctimer.tend(),
        }
    }

    /// Threads that could not be given a trigger.
    pub(super) fn threads_missed(&self) -> u64 {
        match self {
            Rung::Perf(perf) => perf.threads_missed(),
            Rung::Ctimer(ctimer) => ctimer.threads_missed(),
        }
    }
}
