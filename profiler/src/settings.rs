//! What all profiles can be told alike, and how all of them run.

use std::time::Duration;

/// The settings that the builders share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) duration: Duration,
    pub(crate) owner: String,
    pub(crate) lines: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { duration: Duration::from_secs(10), owner: "the program".into(), lines: false }
    }
}

/// The methods of a builder whose `settings` are [`Settings`]. Its `begin` starts a session that is to last so long, if that is
/// known, and the session's `stop` gives the profile. Methods and no trait, so that nobody need import one.
macro_rules! methods {
    ($what:literal => $session:ty => $profile:ty) => {
        /// How long [`run`](Self::run) takes, 10 ms to an hour; 10 s unless told otherwise.
        pub fn duration(mut self, duration: std::time::Duration) -> Self {
            self.settings.duration = duration;
            self
        }

        /// Who takes the profile, as others are told who come while it runs.
        pub fn owner(mut self, owner: impl Into<String>) -> Self {
            self.settings.owner = owner.into();
            self
        }

        /// Runs for the duration, blocking the calling thread, and gives the profile, symbolized.
        ///
        /// # Errors
        /// As [`start`](Self::start), and [`Error::Invalid`](crate::Error::Invalid) if the duration is out of range.
        pub fn run(self) -> Result<$profile, $crate::Error> {
            let duration = self.settings.duration;
            let session = self.start_bounded()?;
            std::thread::sleep(duration);
            session.stop()
        }

        /// Starts what the caller will stop after the duration; others are told until when they have to wait.
        pub(crate) fn start_bounded(self) -> Result<$session, $crate::Error> {
            let duration = self.settings.duration;
            $crate::cpu::check_duration($what, duration)?;
            self.begin(Some(duration))
        }
    };
}

/// The method for builders of profiles that have stacks.
macro_rules! lines_method {
    () => {
        /// Reads the debug information too, where there is any: files, lines, and functions that were inlined as frames of
        /// their own. Names alone, the default, take half the time.
        pub fn lines(mut self) -> Self {
            self.settings.lines = true;
            self
        }
    };
}

pub(crate) use {lines_method, methods};
