//! Who may come in: a bounded number of transactions at a time.

use std::sync::{Condvar, Mutex};

use stagelight::stage;

use crate::truth::{self, Stage};

/// The gates of the database.
///
/// SQLite has one writer at a time. Who queues here is woken at once, where SQLite's own busy handler would
/// sleep and try again.
pub struct Admission {
    pub writers: Gate,
    pub readers: Gate,
}

/// Lets a bounded number of holders of a [`Place`] through.
pub struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The right to be inside, given back when it is dropped.
pub struct Place<'a> {
    gate: &'a Gate,
}

impl Admission {
    pub fn new(readers: usize) -> Self {
        Self { writers: Gate::new(1), readers: Gate::new(readers) }
    }
}

impl Gate {
    fn new(places: usize) -> Self {
        Self { free: Mutex::new(places), freed: Condvar::new() }
    }

    /// Waits for a place. In the profile this is time, yet no CPU time.
    #[stage(name = "admission")]
    pub fn enter(&self) -> Place<'_> {
        truth::count_stage(Stage::Admission);
        let free = self.free.lock().expect("nobody panics while holding it");
        let mut free =
            self.freed.wait_while(free, |free| *free == 0).expect("nobody panics while holding it");
        *free -= 1;
        Place { gate: self }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.gate.free.lock().expect("nobody panics while holding it") += 1;
        self.gate.freed.notify_one();
    }
}
