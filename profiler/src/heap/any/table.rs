//! The live samples by address: bounded, and never waiting for anyone.
//!
//! An address may lie in any of sixteen places in each of two buckets. Whoever is given a piece of memory puts it into a free one,
//! and whoever gives it back takes it out; between the two nobody else has to do with that address. So to take a free place is
//! all that threads contend for, and no place has to be left marked as once used. With two buckets to choose from, it fills up to
//! some seven eighths before the first finds no room.
//!
//! Most that is looked up is not there: a place of a freed sample is given out again, to whoever asks for memory next, and may well
//! be the one that a thread uses over and over. So a look begins with a count of how many addresses there are with such a hash.
//!
//! There is no lock, so a process that is forked in the midst of all this can go on.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering, fence};

const WAYS: usize = 16;

/// Counts by hash, 128 KiB.
const COUNTS: usize = if cfg!(miri) { 1 << 8 } else { 1 << 17 };

/// A sample in two words; what they say, its taker knows. `what` is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) what: u64,
    pub(super) context: u64,
}

/// Two cache lines.
#[repr(align(128))]
struct Bucket([AtomicUsize; WAYS]);

/// 0 in `what` while there is none.
struct Value {
    what: AtomicU64,
    context: AtomicU64,
}

pub(super) struct Table<const BUCKETS: usize> {
    counts: [AtomicU8; COUNTS],
    /// 0 where there is none.
    addresses: [Bucket; BUCKETS],
    values: [[Value; WAYS]; BUCKETS],
    refused: AtomicU64,
}

/// Where an address was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    bucket: usize,
    way: usize,
}

impl<const BUCKETS: usize> Table<BUCKETS> {
    pub(super) const fn new() -> Self {
        const { assert!(BUCKETS.is_power_of_two()) };
        Self {
            counts: [const { AtomicU8::new(0) }; COUNTS],
            addresses: [const { Bucket([const { AtomicUsize::new(0) }; WAYS]) }; BUCKETS],
            values: [const { [const { Value { what: AtomicU64::new(0), context: AtomicU64::new(0) } }; WAYS] };
                BUCKETS],
            refused: AtomicU64::new(0),
        }
    }

    #[inline]
    fn hash(address: usize) -> u64 {
        let hash = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash ^ hash >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[inline]
    fn count(&self, hash: u64) -> &AtomicU8 {
        &self.counts[(hash >> 16) as usize % COUNTS]
    }

    fn buckets(hash: u64) -> [usize; 2] {
        [hash >> 48, hash >> 32].map(|hash| hash as usize % BUCKETS)
    }

    /// Where an address lies that the calling thread has been given.
    #[inline]
    pub(super) fn find(&self, address: usize) -> Option<Place> {
        let hash = Self::hash(address);
        // What was done to this address was done by this thread, or by one that handed the memory on: so it is counted.
        if self.count(hash).load(Ordering::Relaxed) == 0 { None } else { self.search(address, hash) }
    }

    fn search(&self, address: usize, hash: u64) -> Option<Place> {
        Self::buckets(hash).into_iter().find_map(|bucket| {
            let mut addresses = self.addresses[bucket].0.iter();
            let way = addresses.position(|place| place.load(Ordering::Relaxed) == address)?;
            Some(Place { bucket, way })
        })
    }

    /// Puts a sample there, if there is room, before anyone else is given the memory.
    pub(super) fn insert(&self, address: usize, sample: Sample) -> bool {
        let hash = Self::hash(address);
        // What is not counted would not be found. There are far fewer of a hash, as a rule none.
        let counted =
            self.count(hash).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1));
        if counted.is_err() {
            return false;
        }
        let Some(Place { bucket, way }) = self.claim(address, hash) else {
            self.count(hash).fetch_sub(1, Ordering::Relaxed);
            return false;
        };
        let value = &self.values[bucket][way];
        // A reader that sees `what` below sees this too, and one that sees this, that what was here before is gone.
        value.context.store(sample.context, Ordering::Release);
        value.what.store(sample.what, Ordering::Release);
        true
    }

    fn claim(&self, address: usize, hash: u64) -> Option<Place> {
        let buckets = Self::buckets(hash);
        loop {
            let free = buckets.map(|bucket| {
                let mut free = 0..WAYS;
                let is_free = |way: &usize| self.addresses[bucket].0[*way].load(Ordering::Relaxed) == 0;
                let first = free.find(is_free);
                (bucket, first, first.map_or(0, |_| 1 + free.filter(is_free).count()))
            });
            let (bucket, way, _) = if free[1].2 > free[0].2 { free[1] } else { free[0] };
            let way = way?;
            let place = &self.addresses[bucket].0[way];
            // With who had the place before; with the next, by `take`.
            if place.compare_exchange(0, address, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Some(Place { bucket, way });
            }
            // Another took it. That happens less often than there are places.
        }
    }

    /// Takes a sample out, before its memory is given back.
    pub(super) fn take(&self, Place { bucket, way }: Place) -> Sample {
        let value = &self.values[bucket][way];
        let context = value.context.load(Ordering::Relaxed);
        let what = value.what.swap(0, Ordering::Relaxed);
        let address = self.addresses[bucket].0[way].load(Ordering::Relaxed);
        self.count(Self::hash(address)).fetch_sub(1, Ordering::Relaxed);
        // Whoever takes the place sees that.
        self.addresses[bucket].0[way].store(0, Ordering::Release);
        Sample { what, context }
    }

    /// Calls `look` with each sample that is there all the while, and with some of those that come or go.
    pub(super) fn each(&self, mut look: impl FnMut(Sample)) {
        for value in self.values.iter().flatten() {
            let what = value.what.load(Ordering::Acquire);
            if what == 0 {
                continue;
            }
            let context = value.context.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            // If it is the same, so is whose context it is, or it is that of one just alike.
            if value.what.load(Ordering::Relaxed) == what {
                look(Sample { what, context });
            }
        }
    }

    /// Counts a sample that found no room, and was given up.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Samples that found no room.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) const fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: usize) -> Sample {
        Sample { what: number as u64, context: !(number as u64) }
    }

    #[test]
    fn it_fills_up_refuses_and_has_room_again() {
        let table = Box::new(Table::<64>::new());
        let addresses: Vec<usize> = (1..=64 * WAYS).map(|number| number << 12).collect();
        let (kept, refused): (Vec<usize>, Vec<usize>) =
            addresses.iter().partition(|&&address| table.insert(address, sample(address)));
        assert!(kept.len() * 10 >= addresses.len() * 9, "{} of {}", kept.len(), addresses.len());
        assert!(refused.iter().all(|&address| table.find(address).is_none()));
        let mut seen = 0;
        table.each(|sample| {
            assert_eq!(sample.context, !sample.what);
            seen += 1;
        });
        assert_eq!(seen, kept.len());
        for &address in &kept {
            assert_eq!(table.take(table.find(address).unwrap()), sample(address));
            assert!(table.find(address).is_none());
        }
        table.each(|sample| panic!("{sample:?} was taken out"));
        assert!(table.insert(refused.first().copied().unwrap_or(1 << 12), sample(1)));
    }

    #[test]
    fn threads_find_their_own_while_others_come_and_go_and_one_looks() {
        const THREADS: usize = 4;
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        let table = Box::new(Table::<16>::new());
        let running = AtomicUsize::new(THREADS);
        std::thread::scope(|scope| {
            for thread in 1..=THREADS {
                let (table, running) = (&table, &running);
                scope.spawn(move || {
                    for round in 0..rounds {
                        let mine: Vec<usize> =
                            (1..=20).map(|n| thread << 40 | (round % 7 * 20 + n) << 12).collect();
                        let kept: Vec<usize> = mine
                            .into_iter()
                            .filter(|&address| table.insert(address, sample(address)))
                            .collect();
                        for address in kept {
                            assert_eq!(table.take(table.find(address).unwrap()), sample(address));
                        }
                    }
                    running.fetch_sub(1, Ordering::Release);
                });
            }
            while running.load(Ordering::Acquire) > 0 {
                table.each(|sample| assert_eq!(sample.context, !sample.what));
            }
        });
        table.each(|sample| panic!("{sample:?} was taken out"));
    }
}
