//! Whether waits are recorded.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::record::clock::system_ns;

/// The number of the session that records, 0 for none.
static SESSION: AtomicU32 = AtomicU32::new(0);

/// When it started, by [`system_ns`].
static STARTED: AtomicU64 = AtomicU64::new(0);

/// The number of a session. What one left in a lock is told by it from what the next one finds.
pub type Session = NonZeroU16;

/// The session that records, if one does: one load.
#[inline]
#[must_use]
pub fn session() -> Option<Session> {
    NonZeroU16::new(SESSION.load(Ordering::Relaxed) as u16)
}

/// The clock of waits, in nanoseconds.
#[must_use]
pub fn now() -> u64 {
    system_ns()
}

/// When the session that records started.
#[must_use]
pub fn started() -> u64 {
    STARTED.load(Ordering::Relaxed)
}

/// Starts to record.
pub fn turn_on() {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed) % u32::from(u16::MAX) + 1;
    STARTED.store(system_ns(), Ordering::Relaxed);
    SESSION.store(number, Ordering::Release);
}

/// Ends it. Who saw it on may still record for a moment.
pub fn turn_off() {
    SESSION.store(0, Ordering::Release);
}
