//! Locks that tell who waited for them, for how long, and who held them.
//!
//! | instead of | take | with the feature `enabled` off |
//! | --- | --- | --- |
//! | `std::sync` | [`stagelight::sync`](crate::sync) | is `std::sync`, re-exported |
//! | `parking_lot` | `stagelight::parking_lot`, by the feature `parking_lot` | is `parking_lot`, re-exported |
//! | a lock of your own | embed a [`Holder`], begin a [`Wait`] | are nothing, in no room and no time |
//! | another call that blocks | [`waiting`] around it | calls it |
//!
//! A library changes its `use` lines and no more; its program, which turns `enabled` on and links `stagelight-profiler`, takes a
//! profile of the waits. While one runs, each wait is known by the stack, the stage and the labels of the thread that waited, and by
//! the stage and the labels of the one that held the lock as the wait began. `stagelight_profiler::lock` says what the profiles
//! have.
//!
//! # Cost
//! | | not recording | recording |
//! | --- | --- | --- |
//! | lock and unlock, uncontended | two loads | two loads, a store, and the loads of stage and labels; no clock: 1 ns more than `parking_lot`'s 9.5 ns, and half a nanosecond more while not recording |
//! | a wait | 25 ns, to note that the thread waits | two clock reads; from a microsecond on the stack too, about 1 µs and more if it is deep, taken before the thread sleeps |
//! | a hold that made others wait | nothing | a clock read, and as much for the stack after the lock was released |
//! | memory | 24 bytes a lock | at most some 20 MiB while it runs |
//!
//! A lock that is not free is tried for about a microsecond while waits are recorded, before its stack is taken. Nothing waits
//! for what records.
//!
//! # Swapping types
//! A lock that one crate makes and another takes must come from the same place in both. What names `parking_lot`'s types by another
//! way than this module, as `lock_api::Mutex<parking_lot::RawMutex, T>` does or a crate that hands out `parking_lot::Mutex`,
//! fits without `enabled` and not with it: name them by this one. `parking_lot`'s feature `arc_lock` has guards whose short names
//! (`ArcMutexGuard`) stay `parking_lot`'s own.

#[cfg(feature = "enabled")]
mod holder;
#[cfg(not(feature = "enabled"))]
mod off;
mod queue;
mod recorder;
mod switch;
#[cfg(feature = "enabled")]
mod wait;
#[cfg(all(feature = "enabled", target_os = "linux"))]
mod waiters;
#[cfg(not(all(feature = "enabled", target_os = "linux")))]
#[path = "no_waiters.rs"]
mod waiters;

#[cfg(feature = "enabled")]
pub use holder::{Holder, Release};
#[cfg(not(feature = "enabled"))]
pub use off::{Holder, Release, Wait, waiting};
#[cfg(feature = "enabled")]
pub(crate) use wait::contended;
#[cfg(feature = "enabled")]
pub use wait::{Wait, waiting};

/// For `stagelight-profiler`.
#[doc(hidden)]
pub mod private {
    pub use super::queue::Queue;
    pub use super::recorder::{HeldBy, Recorder, Sums, Waiter, WaitsFor, install};
    pub use super::switch::{Session, now, session, started, turn_off, turn_on};
    pub use super::waiters::{waiter, waiters};
}
