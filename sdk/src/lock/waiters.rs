//! Which threads wait at this moment, whether waits are recorded or not: for a profile that begins
//! when they wait already, and may wait for ever, and for the states of threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};

use super::recorder::{Waiter, WaitsFor};
use crate::record::clock::system_ns;

/// A wait that goes on.
#[derive(Debug)]
struct Entry {
    /// Who waits; 0 if the place is free.
    tid: AtomicI32,
    /// By [`system_ns`]; 0 while the place is being taken or given back.
    since: AtomicU64,
    /// A [`WaitsFor`] by its number.
    waits_for: AtomicU8,
}

/// Waits beyond it, or more than [`REACH`] of threads whose ids differ by multiples of it, are not
/// noted. 384 KiB, of which untouched pages take nothing.
const PLACES: usize = 16384;

/// Places that a thread's wait may be in.
const REACH: usize = 8;

static ENTRIES: [Entry; PLACES] =
    [const { Entry { tid: AtomicI32::new(0), since: AtomicU64::new(0), waits_for: AtomicU8::new(0) } };
        PLACES];

fn places(tid: i32) -> impl Iterator<Item = &'static Entry> {
    (0..REACH).map(move |step| &ENTRIES[(tid as usize).wrapping_add(step) % PLACES])
}

/// The calling thread waits as long as this is there.
#[derive(Debug)]
pub(super) struct Mark(Option<&'static Entry>);

/// Notes that the calling thread waits: some 25 ns.
pub(super) fn mark(waits_for: WaitsFor) -> Mark {
    let tid = own();
    let taken = places(tid).find(|entry| {
        entry.tid.load(Ordering::Relaxed) == 0
            && entry.tid.compare_exchange(0, tid, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    });
    if let Some(entry) = taken {
        entry.waits_for.store(waits_for as u8, Ordering::Relaxed);
        entry.since.store(system_ns().max(1), Ordering::Release);
    }
    Mark(taken)
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(entry) = self.0 {
            entry.since.store(0, Ordering::Relaxed);
            entry.tid.store(0, Ordering::Release);
        }
    }
}

/// The calling thread's id, which the kernel is asked for once.
fn own() -> i32 {
    thread_local!(static TID: std::cell::Cell<i32> = const { std::cell::Cell::new(0) });
    if TID.get() == 0 {
        // SAFETY: gettid has no preconditions.
        TID.set(unsafe { libc::gettid() });
    }
    TID.get()
}

impl Entry {
    fn waiter(&self) -> Option<Waiter> {
        let (tid, since) = (self.tid.load(Ordering::Relaxed), self.since.load(Ordering::Acquire));
        let waits_for = WaitsFor::of(self.waits_for.load(Ordering::Relaxed));
        (tid != 0 && since != 0).then_some(Waiter { tid, since, waits_for })
    }
}

/// All threads that wait. Of one that waits within a wait the inner one.
pub fn waiters() -> Vec<Waiter> {
    let mut waiters: HashMap<i32, Waiter> = HashMap::new();
    for waiter in ENTRIES.iter().filter_map(Entry::waiter) {
        let known = waiters.entry(waiter.tid).or_insert(waiter);
        if known.since < waiter.since {
            *known = waiter;
        }
    }
    waiters.into_values().collect()
}

/// What a thread waits in at this moment.
pub fn waiter(tid: i32) -> Option<Waiter> {
    places(tid).filter_map(Entry::waiter).filter(|waiter| waiter.tid == tid).max_by_key(|waiter| waiter.since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_waits_as_long_as_its_mark_is_there() {
        let tid = own();
        assert_eq!(waiter(tid), None);
        let outer = mark(WaitsFor::Other);
        let begun = waiter(tid).unwrap();
        assert_eq!(begun.waits_for, WaitsFor::Other);
        std::thread::sleep(std::time::Duration::from_millis(1));
        {
            let _inner = mark(WaitsFor::Lock);
            let inner = waiter(tid).unwrap();
            assert!(inner.since > begun.since && inner.waits_for == WaitsFor::Lock);
            assert!(waiters().contains(&inner) && !waiters().contains(&begun));
        }
        assert_eq!(waiter(tid), Some(begun));
        drop(outer);
        assert_eq!(waiter(tid), None);
    }

    #[test]
    fn more_waits_than_there_are_places_are_not_noted_and_harm_no_one() {
        let marks: Vec<_> = (0..2 * REACH).map(|_| mark(WaitsFor::Lock)).collect();
        assert!(marks.last().is_some_and(|mark| mark.0.is_none()));
        drop(marks);
        assert_eq!(waiter(own()), None);
    }
}
