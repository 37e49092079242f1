//! The process's table of label sets: the slow path of `labels`, taken at a thread's first sight of a set.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock};

use super::labels::{KINDS, LabelSet, MAX_SETS};

/// Different values of each kind, absence and `other` among them.
const MAX_VALUES: [usize; KINDS] = [1024, 1024, 1024, 256];

/// Sets kept back for statements whose other labels no longer fit: one for each.
const RESERVED_SETS: usize = MAX_VALUES[0];

/// What values past a cap are called.
pub(crate) const OTHER: &str = "other";

type ValueId = u16;
const ABSENT: ValueId = 0;
const OTHER_VALUE: ValueId = 1;

/// The set of a thread that is in no query, and the one of queries for which there is no room at all.
pub(crate) const NO_LABELS: u32 = 0;
const ALL_OTHER: u32 = 1;

/// Marks a number under which a query runs whose values were not all kept.
pub(crate) const DEGRADED: u64 = 1 << 32;

static ABSENT_SET: LabelSet = LabelSet { values: [""; KINDS] };
static OTHER_SET: LabelSet = LabelSet { values: [OTHER; KINDS] };

/// Published sets by number; the first two have statics of their own.
static SETS: [AtomicPtr<LabelSet>; MAX_SETS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; MAX_SETS];
static COUNT: AtomicU32 = AtomicU32::new(ALL_OTHER + 1);

static INTERNER: LazyLock<RwLock<Interner>> = LazyLock::new(|| RwLock::new(Interner::new()));

/// What label hashes start from: different in each process, so that no client can find labels that share a hash.
static SEED: AtomicU64 = AtomicU64::new(0);

#[inline(always)]
pub(crate) fn seed() -> u64 {
    match SEED.load(Ordering::Relaxed) {
        0 => choose_seed(),
        seed => seed,
    }
}

#[cold]
fn choose_seed() -> u64 {
    let random = RandomState::new().build_hasher().finish() | 1;
    // The first thread's choice holds for all.
    SEED.compare_exchange(0, random, Ordering::Relaxed, Ordering::Relaxed).err().unwrap_or(random)
}

/// The labels that a number stands for.
pub(crate) fn set(number: u32) -> &'static LabelSet {
    if number == ALL_OTHER {
        return &OTHER_SET;
    }
    let set = SETS.get(number as usize).map(|set| set.load(Ordering::Acquire));
    // SAFETY: the table holds null or a leaked set, published with release.
    set.and_then(|set| unsafe { set.as_ref() }).unwrap_or(&ABSENT_SET)
}

/// How many numbers were given.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::Acquire) as usize
}

/// Bytes that the table takes, about.
pub(crate) fn bytes() -> usize {
    let interner = INTERNER.read().unwrap_or_else(PoisonError::into_inner);
    let values = interner.values.iter().flat_map(HashMap::keys);
    let values = values.map(|value| value.len() + 2 * size_of::<(&str, ValueId)>()).sum::<usize>();
    let set = size_of::<LabelSet>() + 2 * size_of::<([ValueId; KINDS], u32)>();
    size_of_val(&SETS) + count() * set + values
}

/// The number of a set of values, with [`DEGRADED`] if they were not all kept.
pub(crate) fn number(values: &[&str; KINDS]) -> u64 {
    let known = INTERNER.read().unwrap_or_else(PoisonError::into_inner).find(values);
    known.unwrap_or_else(|| INTERNER.write().unwrap_or_else(PoisonError::into_inner).insert(values))
}

/// Takes the lock, for as long as what it gives lives.
pub(crate) fn hold() -> Box<dyn Any> {
    Box::new(INTERNER.write().unwrap_or_else(PoisonError::into_inner))
}

struct Interner {
    values: [HashMap<&'static str, ValueId>; KINDS],
    /// The text of each value, by kind and number.
    texts: [Vec<&'static str>; KINDS],
    sets: HashMap<[ValueId; KINDS], u32>,
}

impl Interner {
    fn new() -> Self {
        let texts = [const { Vec::new() }; KINDS].map(|_: Vec<&str>| vec!["", OTHER]);
        let values = texts
            .clone()
            .map(|texts| texts.into_iter().enumerate().map(|(id, text)| (text, id as ValueId)).collect());
        let sets = HashMap::from([([ABSENT; KINDS], NO_LABELS), ([OTHER_VALUE; KINDS], ALL_OTHER)]);
        Self { values, texts, sets }
    }

    /// The number, unless a value or the set is new and there is room for it.
    fn find(&self, values: &[&str; KINDS]) -> Option<u64> {
        let mut degraded = false;
        let mut ids = [ABSENT; KINDS];
        for (kind, value) in values.iter().enumerate() {
            ids[kind] = match self.values[kind].get(value) {
                Some(&id) => id,
                None if self.texts[kind].len() < MAX_VALUES[kind] => return None,
                None => {
                    degraded = true;
                    OTHER_VALUE
                }
            };
        }
        if let Some(&number) = self.sets.get(&ids) {
            return Some(u64::from(number) | if degraded { DEGRADED } else { 0 });
        }
        if count() < MAX_SETS - RESERVED_SETS {
            return None;
        }
        let number = match self.sets.get(&statement_only(ids)) {
            Some(&number) => number,
            None if count() < MAX_SETS => return None,
            None => ALL_OTHER,
        };
        Some(u64::from(number) | DEGRADED)
    }

    fn insert(&mut self, values: &[&str; KINDS]) -> u64 {
        // Each turn adds what `find` missed first; one value a kind and one set are all there is to miss.
        for _ in 0..=KINDS + 1 {
            if let Some(number) = self.find(values) {
                return number;
            }
            self.add_first_missing(values);
        }
        u64::from(ALL_OTHER) | DEGRADED
    }

    fn add_first_missing(&mut self, values: &[&str; KINDS]) {
        let mut ids = [ABSENT; KINDS];
        for (kind, &value) in values.iter().enumerate() {
            ids[kind] = match self.values[kind].get(value) {
                Some(&id) => id,
                None if self.texts[kind].len() < MAX_VALUES[kind] => {
                    let text: &'static str = Box::leak(value.into());
                    self.values[kind].insert(text, self.texts[kind].len() as ValueId);
                    self.texts[kind].push(text);
                    return;
                }
                None => OTHER_VALUE,
            };
        }
        let number = count();
        if number >= MAX_SETS - RESERVED_SETS {
            ids = statement_only(ids);
        }
        let texts = std::array::from_fn(|kind| self.texts[kind][ids[kind] as usize]);
        let set = Box::leak(Box::new(LabelSet { values: texts }));
        SETS[number].store(set, Ordering::Release);
        COUNT.store(number as u32 + 1, Ordering::Release);
        self.sets.insert(ids, number as u32);
    }
}

/// What is kept of a set for which there is no room.
fn statement_only(ids: [ValueId; KINDS]) -> [ValueId; KINDS] {
    let [statement, ..] = ids;
    [statement, OTHER_VALUE, OTHER_VALUE, OTHER_VALUE]
}
