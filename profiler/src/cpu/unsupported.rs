//! Where there is no CPU sampler yet.

use std::time::Duration;

use super::turn::Turn;
use super::{Counter, What};
use crate::error::Error;
use crate::focus::Focus;
use crate::profile::{Profile, RawProfile};

#[derive(Debug)]
pub(super) enum Session {}

impl Session {
    pub(super) fn start(_what: What, _duration: Option<Duration>, _owner: String) -> Result<Self, Error> {
        Err(Error::Unsupported(
            "profiles of the CPU, of waits and of counters need Linux on x86_64; recording works here".into(),
        ))
    }

    pub(super) fn start_in(_turn: Turn, what: What) -> Result<Self, Error> {
        Self::start(what, None, String::new())
    }

    pub(super) fn only(self, _focus: Vec<Focus>) -> Self {
        match self {}
    }

    #[cfg(feature = "control")]
    pub(super) fn finish_whole(self, _lines: bool) -> Result<Profile, Error> {
        match self {}
    }

    pub(super) fn gather(self) -> Result<(RawProfile, Vec<Counter>), Error> {
        match self {}
    }

    pub(super) fn finish_raw(self) -> Result<RawProfile, Error> {
        match self {}
    }

    pub(super) fn cut(&mut self) -> Result<RawProfile, Error> {
        match *self {}
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
pub(crate) fn chosen() -> Option<super::Chosen> {
    None
}

pub(crate) fn sampling() -> bool {
    false
}

pub(crate) fn totals() -> super::Totals {
    super::Totals::default()
}
