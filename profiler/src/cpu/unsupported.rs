//! Where there is no CPU sampler yet.

use std::time::Duration;

use crate::error::Error;
use crate::profile::Profile;

#[derive(Debug)]
pub(super) enum Session {}

impl Session {
    pub(super) fn start(_hz: u32, _duration: Option<Duration>, _owner: String) -> Result<Self, Error> {
        Err(Error::Unsupported("CPU profiles need Linux on x86_64; recording works here".into()))
    }

    pub(super) fn finish(self, _lines: bool) -> Result<Profile, Error> {
        match self {}
    }

    pub(super) fn rung(&self) -> &str {
        match *self {}
    }
}

pub(crate) fn bytes() -> usize {
    0
}

#[cfg(feature = "control")]
pub(crate) fn running() -> Option<String> {
    None
}

#[cfg(feature = "control")]
pub(crate) fn chosen() -> Option<super::Chosen> {
    None
}

pub(crate) fn totals() -> super::Totals {
    super::Totals::default()
}
