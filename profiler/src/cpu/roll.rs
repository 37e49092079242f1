//! What a handler must know of its thread, by the thread's id: a table of fixed size, written by whoever arms threads and
//! read in handlers.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use super::tasks;

/// A thread that a rung has armed or watches.
pub(super) struct Entry {
    /// 0 if the place is free.
    tid: AtomicI32,
    /// For the weight of the thread's first sample, in nanoseconds of CPU time: where samples weigh what was used since
    /// the last, what the thread's clock stood at; where they weigh periods, what it used before it had a timer.
    note: AtomicU64,
    /// Whether the sampler thread has sent a signal that did not arrive yet.
    asked: AtomicBool,
}

/// Threads beyond it, or more than [`REACH`] whose ids differ by multiples of it, find no place. 256 KiB, of which
/// untouched pages take nothing.
const PLACES: usize = 16384;

/// Whether some thread found no place, ever.
static FULL: AtomicBool = AtomicBool::new(false);

/// Places that a thread's entry may be in.
const REACH: usize = 32;

static ENTRIES: [Entry; PLACES] =
    [const { Entry { tid: AtomicI32::new(0), note: AtomicU64::new(0), asked: AtomicBool::new(false) } };
        PLACES];

fn places(tid: i32) -> impl Iterator<Item = &'static Entry> {
    (0..REACH).map(move |step| &ENTRIES[(tid as usize).wrapping_add(step) % PLACES])
}

/// Notes something of a thread, `None` if there is no place. One caller at a time; a handler finds it when this returns.
pub(super) fn enter(tid: i32, note: u64) -> Option<&'static Entry> {
    let place = find(tid).or_else(|| places(tid).find(|entry| entry.tid.load(Ordering::Relaxed) == 0));
    let Some(entry) = place else {
        FULL.store(true, Ordering::Relaxed);
        return None;
    };
    entry.note.store(note, Ordering::Relaxed);
    entry.tid.store(tid, Ordering::Release);
    Some(entry)
}

/// Forgets a thread. One whose signal has not arrived stays: it is to be known when it does.
pub(super) fn leave(tid: i32) {
    if let Some(entry) = find(tid)
        && !entry.asked.load(Ordering::Relaxed)
    {
        entry.tid.store(0, Ordering::Release);
    }
}

/// Frees the places of threads that ended before their signal arrived.
pub(super) fn sweep() {
    let present = tasks::list();
    for entry in &ENTRIES {
        let tid = entry.tid.load(Ordering::Relaxed);
        if tid != 0 && !present.contains(&tid) {
            entry.asked.store(false, Ordering::Relaxed);
            entry.tid.store(0, Ordering::Release);
        }
    }
}

fn find(tid: i32) -> Option<&'static Entry> {
    places(tid).find(|entry| entry.tid.load(Ordering::Acquire) == tid)
}

/// What the roll knows of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Of(u64),
    /// It is not in it: it started since the profile did and inherited its trigger.
    New,
    /// It may be one for which there was no place.
    Unknown,
}

/// What was noted of the calling thread. Async-signal-safe.
pub(super) fn own_note() -> Note {
    match find(tasks::own()) {
        Some(entry) => Note::Of(entry.note.load(Ordering::Relaxed)),
        None if FULL.load(Ordering::Relaxed) => Note::Unknown,
        None => Note::New,
    }
}

/// Whether the calling thread was asked for a sample and has not given it. Async-signal-safe.
pub(super) fn answer() -> bool {
    find(tasks::own()).is_some_and(|entry| entry.asked.swap(false, Ordering::Acquire))
}

impl Entry {
    /// Says that the thread will be asked. `false` if it has been and did not answer.
    pub(super) fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Release)
    }

    /// Takes it back, as the signal could not be sent.
    pub(super) fn unask(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_answers_once_for_each_time_that_it_is_asked() {
        let tid = tasks::own();
        assert!(find(tid).is_none() && !answer());
        let entry = enter(tid, 7).unwrap();
        assert_eq!((own_note(), answer()), (Note::Of(7), false));
        assert!(entry.ask() && !entry.ask());
        leave(tid);
        assert_eq!((answer(), answer()), (true, false), "a late signal is still known");
        leave(tid);
        assert!(find(tid).is_none());
    }

    #[test]
    fn a_neighbourhood_that_is_full_refuses_and_harms_no_one() {
        // No thread has ids like these.
        let id = |n: usize| (5 + (n + 1000) * PLACES) as i32;
        for n in 0..REACH {
            assert!(enter(id(n), n as u64).is_some());
        }
        assert!(enter(id(REACH), 0).is_none());
        leave(id(3));
        assert!(enter(id(REACH), 0).is_some() && find(id(4)).is_some() && find(id(3)).is_none());
        (0..=REACH).for_each(|n| leave(id(n)));
    }
}
