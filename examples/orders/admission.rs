//! Who may come in: one transaction that writes, and a bounded number of others.

use stagelight::parking_lot::{Condvar, Mutex, MutexGuard};
use stagelight::stage;

use crate::truth::{self, Stage};

/// The gates of the database.
///
/// SQLite has one writer at a time. Who queues here is woken at once, where SQLite's own busy handler would
/// sleep and try again. The locks tell whom they wait for: `/debug/pprof/block?by=holder_tenant,tenant`.
pub struct Admission {
    pub writers: Gate,
    pub readers: Gate,
}

/// Lets holders of a [`Place`] through.
pub enum Gate {
    /// One at a time.
    One(Mutex<()>),
    /// A bounded number.
    Some(Places),
}

/// Places that are free, and who waits for one.
pub struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The right to be inside, given back when it is dropped.
pub enum Place<'a> {
    One(#[expect(dead_code, reason = "it is held")] MutexGuard<'a, ()>),
    Some(&'a Places),
}

impl Admission {
    pub fn new(readers: usize) -> Self {
        let readers = Places { free: Mutex::new(readers), freed: Condvar::new() };
        Self { writers: Gate::One(Mutex::new(())), readers: Gate::Some(readers) }
    }
}

impl Gate {
    /// Waits for a place. In the profile this is time, yet no CPU time.
    #[stage(name = "admission")]
    pub fn enter(&self) -> Place<'_> {
        truth::count_stage(Stage::Admission);
        match self {
            Gate::One(writer) => Place::One(writer.lock()),
            Gate::Some(places) => {
                let mut free = places.free.lock();
                places.freed.wait_while(&mut free, |free| *free == 0);
                *free -= 1;
                Place::Some(places)
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Place::Some(places) = self {
            *places.free.lock() += 1;
            places.freed.notify_one();
        }
    }
}
