//! The ways of triggering samples. Those of CPU time from the best down: a profile takes the highest that the machine
//! permits. For each other kind of profile there is one.

use super::counting::Counting;
use super::ctimer::Ctimer;
use super::perf_kernel::PerfKernel;
use super::perf_setsig::PerfSetsig;
use super::perf_sigtrap::PerfSigtrap;
use super::ring::Sample;
use super::sampler::Sampler;
use super::switches::Switches;
use super::walker::Walker;
use super::{Counter, What, tasks};
use crate::error::Error;
use crate::symbolize;

/// What interrupts threads: as they use CPU time, or as another kind of profile wants it. Dropping it ends it.
pub(super) trait Trigger: Send {
    /// As profiles name it.
    fn name(&self) -> &'static str;

    /// What a sample by it is not, in words.
    fn limits(&self) -> &'static str;

    /// The signal by which it interrupts.
    fn signal(&self) -> libc::c_int;

    /// Whether samples can't fall into the kernel.
    fn blind_to_kernel(&self) -> bool {
        false
    }

    /// Why a better form of it does not work, if there is one.
    fn refused(&self) -> Option<&str> {
        None
    }

    /// Looks after threads that came and went. Called every few milliseconds.
    fn tend(&mut self) {}

    /// Threads that could not be given a trigger.
    fn threads_missed(&self) -> u64 {
        0
    }

    /// What it could not do else, by cause.
    fn dropped(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Adds what can be told at the end alone, and says what there is to say of it.
    fn end(&mut self, _take: &mut dyn FnMut(&Sample)) -> Vec<String> {
        Vec::new()
    }

    /// What its counters stand at, if it counts.
    fn counters(&self) -> Vec<Counter> {
        Vec::new()
    }
}

type Start = fn(u64) -> Result<Box<dyn Trigger>, Error>;

/// Each by the name that `STAGELIGHT_CPU_RUNG` gives it.
const LADDER: [(&str, Start); 4] = [
    ("perf-sigtrap", |period_ns| Ok(Box::new(PerfSigtrap::start(period_ns)?))),
    ("perf-setsig", |period_ns| Ok(Box::new(PerfSetsig::start(period_ns)?))),
    ("ctimer", |period_ns| Ok(Box::new(Ctimer::start(period_ns)?))),
    ("sampler-thread", |period_ns| Ok(Box::new(Sampler::start(period_ns)?))),
];

/// Starts what the kind of profile takes. The second part says why better ways do not work.
pub(super) fn start(what: What) -> Result<(Box<dyn Trigger>, Vec<String>), Error> {
    let trigger: Box<dyn Trigger> = match what {
        What::Cpu { kernel_frames, .. } => return start_cpu(what.period(), kernel_frames),
        What::OffCpu { .. } => Box::new(Switches::start()?),
        What::Wall { hz } => Box::new(Walker::start(hz)?),
        What::Counters => Box::new(Counting::start()?),
    };
    Ok((trigger, Vec::new()))
}

/// Starts the highest rung that works, or the one that `STAGELIGHT_CPU_RUNG` names, at a sample for so many nanoseconds
/// of CPU time. Each is tried in earnest; whatever error refuses one leads to the next. The second part says why those
/// above it do not work. With the kernel's functions it is the highest in its own form, or any without them.
fn start_cpu(period_ns: u64, kernel_frames: bool) -> Result<(Box<dyn Trigger>, Vec<String>), Error> {
    let wish = std::env::var("STAGELIGHT_CPU_RUNG").unwrap_or_default();
    let any = wish.is_empty() || wish == "auto";
    if !any && LADDER.iter().all(|(name, _)| *name != wish) {
        return Err(Error::Invalid(format!(
            "STAGELIGHT_CPU_RUNG is {wish:?}; it may be auto, perf-sigtrap, perf-setsig, ctimer or sampler-thread"
        )));
    }
    if tasks::list().is_empty() {
        return Err(Error::Refused(
            "/proc/self/task can't be read, which lists the process's threads".into(),
        ));
    }
    let mut refused = Vec::new();
    if kernel_frames {
        let start = if any || wish == LADDER[0].0 {
            PerfKernel::start(period_ns)
        } else {
            Err(Error::Refused(format!("STAGELIGHT_CPU_RUNG is {wish:?}, and they take {}", LADDER[0].0)))
        };
        match start {
            Ok(trigger) => {
                refused.extend(symbolize::kernel_names_hidden());
                return Ok((Box::new(trigger), refused));
            }
            Err(error) => refused.push(format!("kernel frames: {error}")),
        }
    }
    for (name, start) in LADDER.iter().filter(|(name, _)| any || *name == wish) {
        match start(period_ns) {
            Ok(trigger) => {
                refused.extend(trigger.refused().map(str::to_owned));
                return Ok((trigger, refused));
            }
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    Err(Error::Refused(format!(
        "no way of taking CPU samples is permitted here: {}. Allow perf_event_open (in a container: its seccomp \
         profile or CAP_PERFMON; else kernel.perf_event_paranoid at 2 or less), or timer_create with \
         RLIMIT_SIGPENDING (ulimit -i) at more than twice the number of threads, or tgkill",
        refused.join("; ")
    )))
}
