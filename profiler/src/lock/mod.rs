//! Locks that tell who waited for them, for how long, and who held them.
//!
//! [`Mutex`], [`RwLock`] and [`Condvar`] are drop-ins for `parking_lot`'s. While [`locks`] records, each wait is known by the stack, the
//! stage and the labels of the thread that waited, and by the stage and the labels of the one that held the lock as the wait began:
//!
//! ```
//! use std::time::Duration;
//! use stagelight_profiler::lock::{Mutex, locks};
//!
//! static ACCOUNTS: Mutex<Vec<u64>> = Mutex::new(Vec::new());
//!
//! let session = locks().start()?;
//! std::thread::scope(|scope| {
//!     for _ in 0..2 {
//!         scope.spawn(|| {
//!             let mut accounts = ACCOUNTS.lock();
//!             accounts.push(7);
//!             std::thread::sleep(Duration::from_millis(5));
//!         });
//!     }
//! });
//! let profiles = session.stop()?;
//! for (tenant, ns) in profiles.block.label_totals("holder_tenant") {
//!     println!("waited {} ms for {tenant}", ns / 1_000_000);
//! }
//! # assert_eq!(ACCOUNTS.lock().len(), 2);
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
//! A wait counts if it begins and ends while waits are recorded. Those below 10 µs are recorded in proportion to their length, and
//! weigh for those that are not, and so are holds that made others wait for less: sums are right on average, and [`ProfileStats::thinned`](crate::ProfileStats::thinned) says
//! how many were left out.
//!
//! Of a read lock's holders the one that came last is known. A thread that was given the lock and has not noted so yet, a few
//! instructions later, passes for the holder before it.
//!
//! # Cost
//! | | not recording | recording |
//! | --- | --- | --- |
//! | lock and unlock, uncontended | two loads | two loads, a store, and the loads of stage and labels; no clock: 1 ns more than `parking_lot`'s 9.5 ns, and half a nanosecond more while not recording |
//! | a wait | nothing | two clock reads; from a microsecond on the stack too, about 1 µs and more if it is deep, taken before the thread sleeps |
//! | a hold that made others wait | nothing | a clock read, and as much for the stack after the lock was released |
//! | memory | 24 bytes a lock | at most some 20 MiB while it runs |
//!
//! A lock that is not free is tried for about a microsecond while waits are recorded, before its stack is taken.
//! Nothing waits for what records: it is refused and counted in [`ProfileStats::dropped`](crate::ProfileStats::dropped) instead.
//!
//! # Other locks
//! A lock of your own embeds a [`Holder`] and begins a [`Wait`]; [`waiting`] records any other call that blocks.

mod condvar;
mod holder;
mod mutex;
mod record;
mod rw_lock;
mod session;
mod switch;
mod wait;

pub use condvar::{Condvar, WaitTimeoutResult};
pub use holder::{Holder, Release};
pub use mutex::{MappedMutexGuard, Mutex, MutexGuard, RawMutex};
pub use rw_lock::{
    MappedRwLockReadGuard, MappedRwLockWriteGuard, RawRwLock, RwLock, RwLockReadGuard,
    RwLockUpgradableReadGuard, RwLockWriteGuard,
};
pub(crate) use session::totals;
pub use session::{LockProfiles, LocksBuilder, LocksSession, locks};
pub use wait::{Wait, waiting};
