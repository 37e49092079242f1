//! Off-CPU profiles: where threads wait, and for how long.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{What, session};
use crate::error::Error;
use crate::profile::Profile;
use crate::settings::{self, Settings};

/// From how long a wait on every one may be asked to be sampled.
const MIN_WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(1);

/// An off-CPU profile of the whole process: where its threads wait, for what, and how long.
///
/// ```no_run
/// # use std::time::Duration;
/// let profile = stagelight_profiler::off_cpu().duration(Duration::from_secs(10)).run()?;
/// profile.by_label("stage").write_flamegraph(std::fs::File::create("offcpu.svg")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The values of a sample are the nanoseconds that a thread was off the CPU and the number of context switches. The label
/// `state` tells a thread that waited of its own will (`waiting`: for a lock, a channel, a disk, a timer) from one that the
/// scheduler took the CPU from (`preempted`). A wait belongs to the stage and labels that its thread was in.
///
/// It is measured at each context switch by the thread's own clocks: no system call is interrupted, none ends with `EINTR`.
/// A wait that goes on as the profile ends counts up to its end, also if it began before the
/// profile did: its stack has a frame `[still waiting]` on top, and the profile's comments
/// ([`ProfileStats::notes`](crate::ProfileStats::notes)) say how many threads waited throughout.
/// They are looked at from outside, without a signal; where the kernel does not tell where a thread
/// sleeps (`/proc/self/task/TID/syscall`), there is no stack. Of a wait that began before the
/// profile and ends in it, it is not known what it was: the next one counts as a switch without a
/// length. So it does of a thread that starts meanwhile and waits before its first stage. How many
/// there were stands in [`ProfileStats::dropped`](crate::ProfileStats::dropped), as `first_waits`.
///
/// # Cost
/// Some 4 µs a context switch of the process while it runs, which is 1 % of a core for each 2,500 switches a second, and nothing
/// at all while none runs. Of waits shorter than
/// [`min_wait`](OffCpuBuilder::min_wait) fewer are sampled the shorter they are, and those weigh for the others; likewise of all
/// where there would be more than 10,000 samples a second. Both sums stay right on average, and
/// [`ProfileStats::thinned`](crate::ProfileStats::thinned) says how many were not sampled.
///
/// # What it needs
/// Linux 6.11, `CAP_PERFMON` and `CAP_BPF`. In a program that [never execs](crate::never_execs),
/// Linux 6.1 and `CAP_PERFMON`, or `kernel.perf_event_paranoid` at 1 or less. Where that is refused,
/// [`wall`](fn@crate::wall) needs no permission.
pub fn off_cpu() -> OffCpuBuilder {
    OffCpuBuilder { min_wait: Duration::from_micros(10), settings: Settings::default() }
}

/// What an off-CPU profile shall be like.
#[derive(Clone, Debug)]
#[must_use = "call `run` or `start`"]
pub struct OffCpuBuilder {
    min_wait: Duration,
    settings: Settings,
}

impl OffCpuBuilder {
    /// From how long a wait on every one is sampled, up to a second; 10 µs unless told otherwise, which is about what a
    /// sample costs. Shorter ones are sampled in proportion to their length, and each weighs for those that are not.
    pub fn min_wait(mut self, min_wait: Duration) -> Self {
        self.min_wait = min_wait;
        self
    }

    settings::methods!("an off-CPU profile" => OffCpuSession => Profile);
    settings::lines_method!();
    settings::only_method!();

    /// Samples until the session is stopped.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the shortest wait is out of range, [`Error::Busy`] while another profile runs, be it of the CPU,
    /// off the CPU, by the wall clock or of counters, and [`Error::Refused`] if context-switch events can't be had, with the
    /// permission that is missing.
    pub fn start(self) -> Result<OffCpuSession, Error> {
        self.begin(None)
    }

    fn begin(self, duration: Option<Duration>) -> Result<OffCpuSession, Error> {
        if !MIN_WAIT.contains(&self.min_wait) {
            return Err(Error::Invalid(format!(
                "an off-CPU profile of waits from {:?} on: the shortest wait must be {:?} to {:?}",
                self.min_wait,
                MIN_WAIT.start(),
                MIN_WAIT.end()
            )));
        }
        let what = What::OffCpu { min_wait: self.min_wait };
        let focus = self.settings.focus()?;
        let session = session::Session::start(what, duration, self.settings.owner)?;
        Ok(OffCpuSession { session: session.only(focus), lines: self.settings.lines })
    }
}

/// An off-CPU profile that is being taken. Dropping it ends it without a result.
#[must_use = "dropping it ends the profile without a result"]
#[derive(Debug)]
pub struct OffCpuSession {
    session: session::Session,
    lines: bool,
}

impl OffCpuSession {
    /// Ends sampling and gives the profile, symbolized.
    ///
    /// # Errors
    /// If what was sampled could not be gathered.
    pub fn stop(self) -> Result<Profile, Error> {
        self.session.finish(self.lines)
    }

    /// The same with what `only` left out, each sample of it as one frame.
    #[cfg(feature = "control")]
    pub(crate) fn stop_whole(self) -> Result<Profile, Error> {
        self.session.finish_whole(self.lines)
    }
}
