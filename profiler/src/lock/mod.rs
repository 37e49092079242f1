//! Locks that tell who waited for them, for how long, and who held them.
//!
//! The locks are the sdk's, so that a library can take them: [`stagelight::parking_lot`] and [`stagelight::sync`] are drop-ins for
//! `parking_lot` and `std::sync`, and [`stagelight::lock`] has the parts for others. They tell where the sdk's feature `enabled`
//! is on; `parking_lot`'s are here as well. While [`locks`] records, each wait is known by the stack, the
//! stage and the labels of the thread that waited, and by the stage and the labels of the one that held the lock as the wait began:
//!
//! ```
//! use std::time::Duration;
//! use stagelight::sync::Mutex;
//! use stagelight_profiler::locks;
//!
//! static ACCOUNTS: Mutex<Vec<u64>> = Mutex::new(Vec::new());
//!
//! let session = locks().start()?;
//! std::thread::scope(|scope| {
//!     for _ in 0..2 {
//!         scope.spawn(|| {
//!             let mut accounts = ACCOUNTS.lock().unwrap();
//!             accounts.push(7);
//!             std::thread::sleep(Duration::from_millis(5));
//!         });
//!     }
//! });
//! let profiles = session.stop()?;
//! for (tenant, ns) in profiles.block.label_totals("holder_tenant") {
//!     println!("waited {} ms for {tenant}", ns / 1_000_000);
//! }
//! # assert_eq!(ACCOUNTS.lock().unwrap().len(), 2);
//! # Ok::<(), stagelight_profiler::Error>(())
//! ```
//!
//! # Two profiles
//! | profile | a sample is | its stack and labels | its time |
//! | --- | --- | --- | --- |
//! | `block` | a wait | of who waited | how long |
//! | `mutex` | a hold that made others wait | of who held it, as it was released | what all of them waited for it |
//!
//! Both have the labels `holder_stage`, `holder_statement` and `holder_tenant`: in `block` of who held the lock **as the wait began**,
//! in `mutex` of the hold itself as it began. A wait that outlasts several holds counts in `block` under the first of them; `mutex` gives
//! each hold the time that passed in it. So the two add up to the same, but for what it takes to wake up and a last try.
//! `mutex` is of locks alone. `block` has the waits on a [`Condvar`] and those that [`waiting`] and [`Wait`] tell of as well; the
//! label `state` tells them apart (`lock`, `condvar`, `blocked`).
//!
//! A wait that has not ended with the profile counts up to its end, with a frame `[still waiting]`;
//! if it began before the profile did, since the profile's start, and whom it is for is not known
//! (Linux on x86_64). The profile's comments say how many threads waited throughout, so that a
//! deadlock shows. A hold that has not ended is in `mutex` not yet; the waits for it name it in
//! `block`.
//!
//! Waits below 10 µs are recorded in proportion to their length, and weigh for those that are not,
//! and so are holds that made others wait for less: sums are right on average, and
//! [`ProfileStats::thinned`](crate::ProfileStats::thinned) says how many were left out.
//!
//! Of a read lock's holders the one that came last is known. A thread that was given the lock and has not noted so yet, a few
//! instructions later, passes for the holder before it.
//!
//! A lock that is not free is tried for about a microsecond while waits are recorded, before its stack is taken.
//! Nothing waits for what records: it is refused and counted in [`ProfileStats::dropped`](crate::ProfileStats::dropped) instead.
//! [`stagelight::lock`] has what the locks cost.

mod record;
mod session;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod throughout;

pub(crate) use session::totals;
pub use session::{LockProfiles, LocksBuilder, LocksSession, locks};
pub use stagelight::lock::{Holder, Release, Wait, waiting};
pub use stagelight::parking_lot::{
    Condvar, MappedMutexGuard, MappedRwLockReadGuard, MappedRwLockWriteGuard, Mutex, MutexGuard, RawMutex,
    RawRwLock, RwLock, RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard, WaitTimeoutResult,
};
