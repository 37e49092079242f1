//! CPU profiles: where the process's threads burn their time, by stack and by label. And with the same machinery where
//! they wait, where they are by the wall clock, and what the processor counts.

use std::time::Duration;

use crate::error::Error;
use crate::profile::{Kind, Profile};
use crate::settings::{self, Settings};

mod continuous;
mod counters;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod counting;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod ctimer;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod drain;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod events;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod exec_guard;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod follow;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod handler;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kernel_note;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod kernel_records;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod kernel_ring;
mod never_execs;
mod off_cpu;
mod past;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod perf_event;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod perf_kernel;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod perf_setsig;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod perf_sigtrap;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod queued;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod random;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod ring;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod roll;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod rung;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sampler;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod session;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "unsupported.rs"]
mod session;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod signal;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sigtrap;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sigurg;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod stands;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod still_waiting;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod switches;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod system_time;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tasks;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod thinning;
mod trigger;
mod turn;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod walker;
mod wall;

pub use continuous::{Continuous, ContinuousBuilder, continuous};
pub use counters::{
    Counter, CounterEstimate, Counters, CountersBuilder, CountersRow, CountersSession, counters,
};
pub use never_execs::never_execs;
pub use off_cpu::{OffCpuBuilder, OffCpuSession, off_cpu};
#[cfg(feature = "control")]
pub(crate) use past::raw as raw_past;
#[cfg(feature = "control")]
pub(crate) use past::status as past_status;
pub use past::{KeptProfile, kept_profiles, past};
#[cfg(feature = "control")]
pub(crate) use session::chosen;
pub(crate) use session::sampling;
pub(crate) use session::totals;
pub use trigger::{Keeper, Trigger};
#[cfg(feature = "control")]
pub(crate) use turn::running;
pub use wall::{WallBuilder, WallSession, wall};

/// Bytes that sampling uses at present.
pub(crate) fn bytes() -> usize {
    session::bytes() + past::bytes()
}

/// The kinds of profile that this module takes, one at a time.
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    allow(dead_code, reason = "there is no sampler")
)]
#[derive(Clone, Copy, Debug)]
enum What {
    Cpu { hz: u32, kernel_frames: bool },
    OffCpu { min_wait: Duration },
    Wall { hz: u32 },
    Counters,
}

#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64")),
    allow(dead_code, reason = "there is no sampler")
)]
impl What {
    fn name(self) -> &'static str {
        match self {
            What::Cpu { .. } => "a CPU profile",
            What::OffCpu { .. } => "an off-CPU profile",
            What::Wall { .. } => "a wall-clock profile",
            What::Counters => "a look at the counters",
        }
    }

    fn kind(self) -> Kind {
        match self {
            What::Cpu { .. } | What::Counters => Kind::Cpu,
            What::OffCpu { .. } => Kind::OffCpu,
            What::Wall { .. } => Kind::Wall,
        }
    }

    /// Nanoseconds between two samples, or from which on a wait is always sampled.
    fn period(self) -> u64 {
        match self {
            What::Cpu { hz, .. } | What::Wall { hz } => 1_000_000_000 / u64::from(hz),
            What::OffCpu { min_wait } => min_wait.as_nanos() as u64,
            What::Counters => 1,
        }
    }
}

/// What all profiles of these kinds of the process came to so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Signals that arrived: each was kept, refused or late.
    pub(crate) taken: u64,
    /// Samples that were kept.
    pub(crate) kept: u64,
    /// Samples refused because the drain had fallen behind.
    pub(crate) ring_full: u64,
    /// Context switches that raised a signal and were not sampled.
    pub(crate) thinned: u64,
    /// Signals that arrived after their profile had ended.
    pub(crate) late: u64,
    /// Time spent in the handler.
    pub(crate) handler: Duration,
}

/// The rung that a profile was taken on.
#[cfg_attr(not(feature = "control"), allow(dead_code, reason = "the status alone reads all of it"))]
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) name: &'static str,
    /// What its samples are not, in words.
    pub(crate) limits: &'static str,
    /// Why those above it were not taken.
    pub(crate) refused: Vec<String>,
}

/// Samples a second of CPU time that a profile may take.
pub const HZ: std::ops::RangeInclusive<u32> = 1..=4999;

/// How long a profile may run.
pub const DURATION: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);

/// A CPU profile of the whole process: all threads, those that start meanwhile too.
///
/// ```no_run
/// # use std::time::Duration;
/// let profile = stagelight_profiler::cpu().hz(99).duration(Duration::from_secs(10)).run()?;
/// profile.by_label("tenant").write_flamegraph(std::fs::File::create("cpu.svg")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Each sample stands for the CPU time that its thread used since the one before. At 99 Hz the profile costs
/// the process about 0.1 % while it runs, and nothing at all while none runs.
pub fn cpu() -> CpuBuilder {
    CpuBuilder { hz: 99, kernel_frames: false, settings: Settings::default() }
}

/// What a CPU profile shall be like.
#[derive(Clone, Debug)]
#[must_use = "call `run` or `start`"]
pub struct CpuBuilder {
    hz: u32,
    kernel_frames: bool,
    settings: Settings,
}

impl CpuBuilder {
    /// Samples a second of a thread's CPU time, 1 to 4999; 99 unless told otherwise. Odd rates keep out of step
    /// with what the program does at round ones.
    pub fn hz(mut self, hz: u32) -> Self {
        self.hz = hz;
        self
    }

    /// Has the functions of the kernel stand on top of those that called it or ran into it, by system calls, page faults and
    /// interrupts: `main;write;[kernel];ksys_write;vfs_write`. Without it the frame `[kernel]` stands for all that is done within
    /// system calls, and `[kernel, fault or interrupt]` for what the kernel does else.
    ///
    /// It takes the rung `perf-sigtrap`, Linux 6.11, `CAP_PERFMON` and `CAP_BPF`, or less in a program
    /// that [never execs](crate::never_execs); for names also
    /// `CAP_SYSLOG`, or `kernel.perf_event_paranoid` at 1 or less, and `kernel.kptr_restrict` at 0. Where that is refused, the profile is taken without
    /// it, or has addresses instead of names, and [`ProfileStats::rungs_refused`](crate::ProfileStats::rungs_refused) says so and
    /// why. Threads for which there is no room are sampled without the kernel's functions, and counted in
    /// [`ProfileStats::dropped`](crate::ProfileStats::dropped) as `kernel_frames_missed`.
    ///
    /// Where the kernel has interrupts off, its time counts where it turns them on again (`_raw_spin_unlock_irqrestore`): the timer
    /// waits until then. Functions without names have their addresses, which `kernel.kptr_restrict` keeps from users without privileges: show
    /// such a profile to no one who may not know them.
    ///
    /// # Cost
    /// While it runs a descriptor and 8 KiB of locked memory a thread (`RLIMIT_MEMLOCK`), of at most 4,096 threads, where else a
    /// profile locks none; and when it ends a look through `/proc/kallsyms`, some 0.1 s.
    pub fn kernel_frames(mut self) -> Self {
        self.kernel_frames = true;
        self
    }

    settings::methods!("a CPU profile" => CpuSession => Profile);
    settings::lines_method!();
    settings::only_method!();

    /// Samples until the session is stopped.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the rate is out of range, [`Error::Busy`] while another profile runs, be it of the CPU,
    /// off the CPU, by the wall clock or of counters, and
    /// [`Error::Refused`] if no rung of the ladder can be had; the text gives the reason for each.
    pub fn start(self) -> Result<CpuSession, Error> {
        self.begin(None)
    }

    fn begin(self, duration: Option<Duration>) -> Result<CpuSession, Error> {
        check_hz("a CPU profile", self.hz)?;
        let focus = self.settings.focus()?;
        let what = What::Cpu { hz: self.hz, kernel_frames: self.kernel_frames };
        let session = session::Session::start(what, duration, self.settings.owner)?;
        Ok(CpuSession { session: session.only(focus), lines: self.settings.lines })
    }
}

/// Refuses a rate that no profile may have.
fn check_hz(what: &str, hz: u32) -> Result<(), Error> {
    if HZ.contains(&hz) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{what} at {hz} Hz: the rate must be {} to {} Hz", HZ.start(), HZ.end())))
}

/// Refuses a duration that no profile may have.
pub(crate) fn check_duration(what: &str, duration: Duration) -> Result<(), Error> {
    if DURATION.contains(&duration) {
        return Ok(());
    }
    let (shortest, longest) = (DURATION.start().as_secs_f64(), DURATION.end().as_secs_f64());
    Err(Error::Invalid(format!(
        "{what} of {} s: the duration must be {shortest} to {longest} seconds",
        duration.as_secs_f64()
    )))
}

/// A CPU profile that is being taken. Dropping it ends it without a result.
#[must_use = "dropping it ends the profile without a result"]
#[derive(Debug)]
pub struct CpuSession {
    session: session::Session,
    lines: bool,
}

impl CpuSession {
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

    /// The way in which samples are triggered: `perf-sigtrap`, `perf-sigtrap-kernel` (with
    /// [`kernel_frames`](CpuBuilder::kernel_frames)), `perf-sigtrap-user`, `perf-setsig`, `ctimer` or `sampler-thread`.
    #[must_use]
    pub fn rung(&self) -> &str {
        self.session.rung()
    }
}
