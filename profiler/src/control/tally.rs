//! What the API did not do for its clients, and why; for all of the process.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A request for a host that is none of ours, or from a page of another origin.
    Foreign,
    /// A request for a change without the header for it.
    NoHeader,
    /// A request for a profile beside too many others.
    TooManyProfiles,
    /// A connection ended because its client did not send a request in time.
    SlowRequest,
    /// A connection ended because its client did not read its answer.
    SlowReader,
    /// A connection that waited for its client was ended so that another could be.
    MadeRoom,
    /// A connection was refused, since none of the others waited for its client.
    Full,
}

impl Cause {
    pub(super) const ALL: [(Cause, &'static str); 7] = [
        (Cause::Foreign, "foreign"),
        (Cause::NoHeader, "no_header"),
        (Cause::TooManyProfiles, "too_many_profiles"),
        (Cause::SlowRequest, "slow_request"),
        (Cause::SlowReader, "slow_reader"),
        (Cause::MadeRoom, "made_room"),
        (Cause::Full, "full"),
    ];
}

static COUNTS: [AtomicU64; Cause::ALL.len()] = [const { AtomicU64::new(0) }; Cause::ALL.len()];

/// Connections that are open.
pub(super) static OPEN: AtomicUsize = AtomicUsize::new(0);

pub(super) fn count(cause: Cause) {
    COUNTS[cause as usize].fetch_add(1, Ordering::Relaxed);
}

/// Causes and how often there was each.
pub(crate) fn refused() -> impl Iterator<Item = (&'static str, u64)> {
    Cause::ALL.into_iter().map(|(cause, name)| (name, COUNTS[cause as usize].load(Ordering::Relaxed)))
}
