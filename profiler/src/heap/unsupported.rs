//! Where jemalloc's sampling is not to be had.

use std::time::SystemTime;

use crate::error::Error;
use crate::profile::Profile;

pub(super) enum Live {}

pub(super) fn take() -> Result<Live, Error> {
    Err(Error::Unsupported(status().1))
}

impl Live {
    pub(super) fn profile(self, _lines: bool) -> Profile {
        match self {}
    }

    pub(super) fn by_context(self) -> (u64, std::collections::HashMap<(u32, u32), i64>) {
        match self {}
    }

    pub(super) fn growth_since(self, _before: Live, _started: SystemTime, _lines: bool) -> Profile {
        match self {}
    }
}

/// Whether the heap is sampled, and how or why not.
pub(crate) fn status() -> (bool, String) {
    (false, "heap profiles need Linux; recording works here".into())
}
