//! Who knocks while the caps are reached: the values and sets that run as `other`, counted in little memory so that the
//! heavy ones among them are found.
//!
//! Each kind of value has a sketch, and so have the sets of values that all have entries. A sketch is that of Metwally,
//! Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams" (ICDT 2005), called
//! Space-Saving: a newcomer without a counter takes the lowest one over, and with it, as its possible error, what that had.
//! So whatever has more than one part in [`ROOM`] of the calls has a counter, and a count less its error was surely earned.
//!
//! Counts fade with time, at the rate at which `turnover` lets those of the values with entries fade.
//!
//! Fed are the misses of the threads' caches, each as one call, and one in [`SAMPLED`] of the hits that run as `other`,
//! drawn at random, each as that many.

use std::any::Any;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::interner::{Missing, ValueIds};
use super::labels::{KINDS, hash};

/// Counters of a sketch.
const ROOM: usize = 128;

/// One in how many queries that a thread's cache sends to `other` is looked up anew: so that it counts as a newcomer,
/// and so that the thread learns of it when it has got an entry. A power of two.
pub(crate) const SAMPLED: u64 = 256;

static NEWCOMERS: Mutex<Newcomers> = Mutex::new(Newcomers {
    values: [const { Sketch { counters: Vec::new() } }; KINDS],
    sets: Sketch { counters: Vec::new() },
    calls: 0.0,
});

/// Those that knocked.
pub(crate) struct Newcomers {
    /// By kind: values without an entry.
    pub(crate) values: [Sketch; KINDS],
    /// Sets without a number, of which all values have entries or are `other`.
    pub(crate) sets: Sketch,
    /// All their calls.
    pub(crate) calls: f64,
}

/// Space-Saving.
pub(crate) struct Sketch {
    counters: Vec<Counter>,
}

#[derive(Default)]
pub(crate) struct Counter {
    key: u64,
    count: f64,
    error: f64,
    pub(crate) newcomer: Newcomer,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Newcomer {
    /// The value; empty for a set.
    pub(crate) text: String,
    /// The set, or the last one that the value came in, with `other` for what has no entry.
    pub(crate) ids: ValueIds,
}

impl Counter {
    /// Calls that it surely had.
    pub(crate) fn earned(&self) -> f64 {
        self.count - self.error
    }
}

impl Sketch {
    fn add(&mut self, key: u64, calls: f64, text: &str, ids: ValueIds) {
        let counter = match self.counters.iter().position(|counter| counter.key == key) {
            Some(known) => &mut self.counters[known],
            None => self.take(key, text),
        };
        counter.count += calls;
        counter.newcomer.ids = ids;
    }

    fn take(&mut self, key: u64, text: &str) -> &mut Counter {
        let place = if self.counters.len() < ROOM {
            self.counters.push(Counter::default());
            self.counters.len() - 1
        } else {
            let counts = self.counters.iter().map(|counter| counter.count).enumerate();
            counts.min_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(place, _)| place)
        };
        let counter = &mut self.counters[place];
        counter.key = key;
        counter.error = counter.count;
        // The text's memory is used again, so a flood does not allocate.
        counter.newcomer.text.clear();
        counter.newcomer.text.push_str(text);
        counter
    }

    /// All that have a counter.
    pub(crate) fn counters(&self) -> &[Counter] {
        &self.counters
    }
}

impl Newcomers {
    /// Time has passed: all counts are worth that part of what they were. What is worth nothing any more goes.
    pub(crate) fn fade(&mut self, part: f64) {
        for sketch in self.values.iter_mut().chain([&mut self.sets]) {
            for counter in &mut sketch.counters {
                counter.count *= part;
                counter.error *= part;
            }
            sketch.counters.retain(|counter| counter.count > 0.5);
        }
        self.calls *= part;
    }

    /// Forgets one that need not knock any more.
    pub(crate) fn forget(&mut self, kind: Option<usize>, newcomer: &Newcomer) {
        let sketch = match kind {
            Some(kind) => &mut self.values[kind],
            None => &mut self.sets,
        };
        // The set that a value comes in may be another one by now.
        sketch.counters.retain(|counter| {
            counter.newcomer.text != newcomer.text || kind.is_none() && counter.newcomer.ids != newcomer.ids
        });
    }
}

/// Counts a query that runs as `other`: `unknown` says which of its values have no entry, `missing`
/// which sets have no number that it would rather run under. A thread that finds another one at it
/// goes on: whoever is heavy comes again.
pub(crate) fn knock(
    values: &[&str; KINDS],
    unknown: [bool; KINDS],
    ids: ValueIds,
    missing: &Missing,
    calls: u64,
) {
    let calls = calls as f64;
    let Ok(mut newcomers) = NEWCOMERS.try_lock() else { return };
    newcomers.calls += calls;
    for &set in missing.sets() {
        let key = set.iter().fold(0, |key, &id| key << 16 | u64::from(id));
        newcomers.sets.add(key, calls, "", set);
    }
    for (kind, value) in values.iter().enumerate().filter(|&(kind, _)| unknown[kind]) {
        newcomers.values[kind].add(hash(&[value]), calls, value, ids);
    }
}

pub(crate) fn lock() -> MutexGuard<'static, Newcomers> {
    NEWCOMERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock, for as long as what it gives lives.
pub(crate) fn hold() -> Box<dyn Any> {
    Box::new(lock())
}

/// Bytes that the sketches take, about.
pub(crate) fn bytes() -> usize {
    let newcomers = lock();
    let counters = newcomers.values.iter().chain([&newcomers.sets]).flat_map(|sketch| &sketch.counters);
    counters.map(|counter| size_of::<Counter>() + counter.newcomer.text.capacity()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn who_is_heavy_has_a_counter_and_what_is_earned_was_had(
            stream in prop::collection::vec(prop_oneof![3 => 0..100_000_u64, 1 => 0..20_u64], 0..3000),
        ) {
            let mut sketch = Sketch { counters: Vec::new() };
            let mut truth = HashMap::<u64, u64>::new();
            for &key in &stream {
                sketch.add(key, 1.0, &key.to_string(), [0; KINDS]);
                *truth.entry(key).or_default() += 1;
            }
            prop_assert_eq!(sketch.counters.iter().map(|c| c.count).sum::<f64>(), stream.len() as f64);
            for counter in &sketch.counters {
                let had = truth[&counter.key] as f64;
                prop_assert!(counter.earned() <= had && had <= counter.count);
                prop_assert_eq!(&counter.newcomer.text, &counter.key.to_string());
            }
            for (key, had) in truth {
                let counted = sketch.counters.iter().any(|counter| counter.key == key);
                prop_assert!(counted || had <= (stream.len() / ROOM) as u64);
            }
        }
    }
}
