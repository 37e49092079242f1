//! Wall-clock profiles: where all threads are, whether they run or wait.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{What, session};
use crate::error::Error;
use crate::profile::Profile;
use crate::settings::{self, Settings};

/// Samples a second of each thread.
pub const WALL_HZ: RangeInclusive<u32> = 1..=250;

/// A wall-clock profile of the whole process: where each thread is at any time, whether it runs or waits.
///
/// ```no_run
/// # use std::time::Duration;
/// let profile = stagelight_profiler::wall().duration(Duration::from_secs(10)).run()?;
/// profile.by_label("state").by_label("stage").write_flamegraph(std::fs::File::create("wall.svg")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It needs no permission, where [`off_cpu`](fn@crate::off_cpu) does. Each
/// sample stands for the time since its thread's last one. The label `state` says `running` (or able to) or `waiting`, as the
/// kernel had it when the thread was visited. A thread that blocks `SIGURG` is not in it.
///
/// # Cost
/// It wakes every thread of the process at its rate, which is why it is never taken unless asked for:
///
/// - **It interrupts waits.** Reads, writes, locks, channels and `std::thread::sleep` go on by themselves; `poll`, `epoll_wait`,
///   `select` and a bare `nanosleep` end with `EINTR`, as at any signal. Rust's standard library, Tokio and whatever copes with
///   signals call them again; C code that takes `EINTR` for a failure does not.
/// - Some 40 µs of CPU time a visit, much of it in the thread that is visited, and no more than 2,000 visits a second, 8 % of a
///   core: of more than a hundred threads each is visited less often than 20 times a second, and its samples weigh more.
pub fn wall() -> WallBuilder {
    WallBuilder { hz: 20, settings: Settings::default() }
}

/// What a wall-clock profile shall be like.
#[derive(Clone, Debug)]
#[must_use = "call `run` or `start`"]
pub struct WallBuilder {
    hz: u32,
    settings: Settings,
}

impl WallBuilder {
    /// Samples a second of each thread, 1 to 250; 20 unless told otherwise.
    pub fn hz(mut self, hz: u32) -> Self {
        self.hz = hz;
        self
    }

    settings::methods!("a wall-clock profile" => WallSession => Profile);
    settings::lines_method!();
    settings::only_method!();

    /// Samples until the session is stopped.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the rate is out of range, [`Error::Busy`] while another profile runs, be it of the CPU, off the
    /// CPU, by the wall clock or of counters, and [`Error::Io`] if no thread can be started.
    pub fn start(self) -> Result<WallSession, Error> {
        self.begin(None)
    }

    fn begin(self, duration: Option<Duration>) -> Result<WallSession, Error> {
        if !WALL_HZ.contains(&self.hz) {
            return Err(Error::Invalid(format!(
                "a wall-clock profile at {} Hz: the rate must be {} to {} Hz",
                self.hz,
                WALL_HZ.start(),
                WALL_HZ.end()
            )));
        }
        let focus = self.settings.focus()?;
        let session = session::Session::start(What::Wall { hz: self.hz }, duration, self.settings.owner)?;
        Ok(WallSession { session: session.only(focus), lines: self.settings.lines })
    }
}

/// A wall-clock profile that is being taken. Dropping it ends it without a result.
#[must_use = "dropping it ends the profile without a result"]
#[derive(Debug)]
pub struct WallSession {
    session: session::Session,
    lines: bool,
}

impl WallSession {
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
