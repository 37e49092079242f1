//! What all profiles can be told alike, and how all of them run.

use std::time::Duration;

use crate::error::Error;
use crate::focus::Focus;

/// The settings that the builders share.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) duration: Duration,
    pub(crate) owner: String,
    pub(crate) lines: bool,
    pub(crate) only: Vec<(String, String)>,
}

impl Settings {
    /// What samples are to be in, if they are to be in anything.
    pub(crate) fn focus(&self) -> Result<Vec<Focus>, Error> {
        self.only.iter().map(|(label, value)| Focus::new(label, value)).collect()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(10),
            owner: "the program".into(),
            lines: false,
            only: Vec::new(),
        }
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

/// The method for builders whose samples are chosen as they are taken.
macro_rules! only_method {
    () => {
        /// Takes the samples of one `stage`, with the stages that it calls, or of one `statement`, `tenant`, `user` or
        /// `database` alone; given more than once, those that are in all of them. Of others no stack is walked.
        /// [`Profile::filter`](crate::Profile::filter) chooses by any label afterwards.
        ///
        /// A label that is none of these is refused at the start, as [`Error::Invalid`](crate::Error::Invalid).
        pub fn only(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
            self.settings.only.push((label.into(), value.into()));
            self
        }
    };
}

pub(crate) use {lines_method, methods, only_method};
