//! `std::sync` whose locks tell who waited for them, for how long, and who held them.
//!
//! All of [`std::sync`] is here, so that a library changes no more than where its locks come from:
//!
//! ```
//! use stagelight::sync::{Arc, Condvar, Mutex};
//!
//! let queue = Arc::new((Mutex::new(vec![7]), Condvar::new()));
//! let (jobs, ready) = &*queue;
//! let mut jobs = ready.wait_while(jobs.lock().unwrap(), |jobs| jobs.is_empty()).unwrap();
//! assert_eq!(jobs.pop(), Some(7));
//! ```
//!
//! Without the feature `enabled`, which is how a library depends on this crate, these are `std`'s own types and nothing else. With
//! it [`Mutex`], [`RwLock`] and [`Condvar`] are ours: they lock by `std`'s, poison as those do, and note who holds them. What
//! `std::sync` has beside, channels and barriers among it, is `std`'s in either case and is not recorded;
//! [`waiting`](crate::lock::waiting) records a call that blocks.
//!
//! [`lock`](crate::lock) says what is recorded and what that costs.

#[cfg(feature = "enabled")]
mod condvar;
#[cfg(feature = "enabled")]
mod mutex;
#[cfg(feature = "enabled")]
mod poisoned;
#[cfg(feature = "enabled")]
mod rw_lock;

#[cfg(feature = "enabled")]
pub use self::{
    condvar::{Condvar, WaitTimeoutResult},
    mutex::{Mutex, MutexGuard},
    rw_lock::{RwLock, RwLockReadGuard, RwLockWriteGuard},
};
// What is named above takes the place of `std`'s.
pub use std::sync::*;
