//! `parking_lot` whose locks tell who waited for them, for how long, and who held them. By the feature `parking_lot`.
//!
//! All of `parking_lot` is here, so that a library changes no more than where its locks come from:
//!
//! ```
//! use stagelight::parking_lot::{Mutex, RwLock};
//!
//! static ACCOUNTS: Mutex<Vec<u64>> = Mutex::new(Vec::new());
//! ACCOUNTS.lock().push(7);
//! let limits = RwLock::new(ACCOUNTS.lock().len());
//! assert_eq!(*limits.read(), 1);
//! ```
//!
//! Without the feature `enabled`, which is how a library depends on this crate, these are `parking_lot`'s own types and nothing
//! else. With it [`Mutex`], [`RwLock`] and [`Condvar`] are ours: they lock by `parking_lot`'s and note who holds them. Its other
//! locks, such as `ReentrantMutex` and `FairMutex`, are its own in either case and are not recorded.
//!
//! [`lock`](crate::lock) says what is recorded and what that costs.

#[cfg(feature = "enabled")]
mod condvar;
#[cfg(feature = "enabled")]
mod mutex;
#[cfg(feature = "enabled")]
mod rw_lock;

#[cfg(feature = "enabled")]
pub use self::{
    condvar::{Condvar, WaitTimeoutResult},
    mutex::{MappedMutexGuard, Mutex, MutexGuard, RawMutex, const_mutex},
    rw_lock::{
        MappedRwLockReadGuard, MappedRwLockWriteGuard, RawRwLock, RwLock, RwLockReadGuard,
        RwLockUpgradableReadGuard, RwLockWriteGuard, const_rwlock,
    },
};
// What is named above takes the place of `parking_lot`'s.
pub use ::parking_lot::*;
