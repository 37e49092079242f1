//! The buffer between those who sample, in signal handlers and in the allocator, and the thread that drains it: bounded, many
//! writers, one reader.
//!
//! # Why this is sound
//! Each slot has a turn. A writer claims the slot whose turn equals the ticket that it draws, fills it and moves the
//! turn on by one; the reader takes the slot whose turn is its own ticket plus one, and moves the turn on by a lap.
//! So at any time a slot belongs to one writer, or to the reader, or to nobody.
//! Source: D. Vyukov, bounded MPMC queue, <https://www.1024cores.net/home/lock-free-algorithms/queues>.
//!
//! A writer never waits: if no slot is free, the sample is refused. The reader never waits for a writer that was
//! interrupted: it comes back later.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Slot<T> {
    turn: AtomicUsize,
    sample: UnsafeCell<T>,
}

pub(crate) struct Ring<T> {
    slots: Box<[Slot<T>]>,
    head: AtomicUsize,
    tail: AtomicUsize,
}

// SAFETY: a slot's sample is only reached by the writer or the reader that the slot's turn names.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    /// A ring of at least that many slots, each of which starts as `empty`.
    pub(crate) fn new(slots: usize, empty: impl Fn() -> T) -> Self {
        let empty = |turn| Slot { turn: AtomicUsize::new(turn), sample: UnsafeCell::new(empty()) };
        Self {
            slots: (0..slots.next_power_of_two()).map(empty).collect(),
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    fn slot(&self, ticket: usize) -> &Slot<T> {
        &self.slots[ticket & (self.slots.len() - 1)]
    }

    /// Has a free slot filled, which holds what an earlier sample left there. `false` if there is none. Async-signal-safe.
    pub(crate) fn push(&self, fill: impl FnOnce(&mut T)) -> bool {
        let mut ticket = self.tail.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(ticket);
            let ahead = slot.turn.load(Ordering::Acquire).wrapping_sub(ticket) as isize;
            if ahead < 0 {
                return false;
            }
            let next = ticket.wrapping_add(1);
            if ahead > 0 {
                ticket = self.tail.load(Ordering::Relaxed);
                continue;
            }
            match self.tail.compare_exchange_weak(ticket, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    // SAFETY: the slot's turn is this ticket, which only this call has drawn.
                    fill(unsafe { &mut *slot.sample.get() });
                    slot.turn.store(next, Ordering::Release);
                    return true;
                }
                Err(drawn) => ticket = drawn,
            }
        }
    }

    /// Takes the oldest sample, if it is finished. One thread at a time.
    pub(crate) fn pop(&self, take: impl FnOnce(&T)) -> bool {
        let ticket = self.head.load(Ordering::Relaxed);
        let slot = self.slot(ticket);
        let next = ticket.wrapping_add(1);
        if slot.turn.load(Ordering::Acquire) != next {
            return false;
        }
        // SAFETY: the slot's turn says that its writer is done, and it is passed on below.
        take(unsafe { &*slot.sample.get() });
        self.head.store(next, Ordering::Relaxed);
        slot.turn.store(ticket.wrapping_add(self.slots.len()), Ordering::Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_refuses_and_goes_on_once_drained() {
        let ring = Ring::new(4, || 0);
        for lap in 0..3 {
            for weight in 0..4 {
                assert!(ring.push(|sample| *sample = lap * 10 + weight));
            }
            assert!(!ring.push(|_| ()));
            for weight in 0..4 {
                assert!(ring.pop(|sample| assert_eq!(*sample, lap * 10 + weight)));
            }
            assert!(!ring.pop(|_| ()));
        }
    }

    #[test]
    fn every_sample_of_many_writers_arrives_once_or_is_refused() {
        const WRITERS: u64 = 3;
        const EACH: u64 = if cfg!(miri) { 50 } else { 20_000 };
        let ring = Ring::new(8, || [0_u64; 32]);
        let running = AtomicUsize::new(WRITERS as usize);
        let (mut seen, mut refused) = (vec![0_u32; (WRITERS * EACH) as usize], 0);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (ring, running) = (&ring, &running);
                    scope.spawn(move || {
                        let each = (0..EACH).map(|n| writer * EACH + n);
                        let pushed = each.filter(|&id| {
                            ring.push(|sample| {
                                sample[0] = id;
                                sample[31] = !id;
                            })
                        });
                        let pushed = pushed.count() as u64;
                        running.fetch_sub(1, Ordering::Release);
                        EACH - pushed
                    })
                })
                .collect();
            loop {
                let last = running.load(Ordering::Acquire) == 0;
                while ring.pop(|sample| {
                    assert_eq!(sample[31], !sample[0]);
                    seen[sample[0] as usize] += 1;
                }) {}
                if last {
                    break;
                }
                std::thread::yield_now();
            }
            refused += writers.into_iter().map(|writer| writer.join().unwrap()).sum::<u64>();
        });
        assert!(seen.iter().all(|&times| times <= 1));
        assert_eq!(seen.iter().map(|&times| u64::from(times)).sum::<u64>() + refused, WRITERS * EACH);
    }
}
