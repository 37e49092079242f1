//! Whether waits are recorded.

use crate::clock;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The number of the session that records, 0 for none.
static SESSION: AtomicU32 = AtomicU32::new(0);

/// When it started, by [`clock::monotonic_ns`].
static STARTED: AtomicU64 = AtomicU64::new(0);

/// The number of a session. What one left in a lock is told by it from what the next one finds.
pub(super) type Session = NonZeroU16;

/// The session that records, if one does: one load.
#[inline]
pub(super) fn session() -> Option<Session> {
    NonZeroU16::new(SESSION.load(Ordering::Relaxed) as u16)
}

/// When the session that records started.
pub(super) fn started() -> u64 {
    STARTED.load(Ordering::Relaxed)
}

/// Starts to record.
pub(super) fn turn_on() {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed) % u32::from(u16::MAX) + 1;
    STARTED.store(clock::monotonic_ns(), Ordering::Relaxed);
    SESSION.store(number, Ordering::Release);
}

/// Ends it. Who saw it on may still record for a moment.
pub(super) fn turn_off() {
    SESSION.store(0, Ordering::Release);
}
