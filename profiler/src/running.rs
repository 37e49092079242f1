//! Who takes a profile, as those are told who come while it runs.

use std::time::{Duration, Instant};

use stagelight::export::readable;

use crate::error::Error;

/// Who takes what, and until when.
pub(crate) struct Running {
    /// As sentences name it.
    what: &'static str,
    owner: String,
    until: Option<Instant>,
}

impl Running {
    /// From now on, and for so long if that is known.
    pub(crate) fn new(what: &'static str, owner: String, duration: Option<Duration>) -> Self {
        Self {
            what,
            owner: readable(&owner).into_owned(),
            until: duration.map(|duration| Instant::now() + duration),
        }
    }

    pub(crate) fn sentence(&self) -> String {
        let Self { what, owner, .. } = self;
        match self.until {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now()).as_secs_f64();
                format!("{owner} is taking {what} for another {left:.1} s")
            }
            None => format!("{owner} is taking {what} until it is stopped"),
        }
    }

    /// Why another one can't run meanwhile.
    pub(crate) fn busy(&self) -> Error {
        Error::Busy(format!("{}; one runs at a time", self.sentence()))
    }
}
