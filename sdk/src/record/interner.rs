//! The process's table of label sets: the slow path of `labels`, taken at a thread's first sight of a set.
//!
//! A value that has lost its entry (`turnover`) keeps its number here, so that it gets the same one when it comes again. A
//! set's number is never given to another set, since statements, threads and samples may hold it for ever; when one of its
//! values loses its entry, what the number stands for says `other` in that place. That is also how the threads' caches
//! learn of it: they compare with what the number stands for.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock, RwLockWriteGuard};

use super::labels::{KINDS, LabelSet, MAX_SETS};
use super::newcomers;

/// Different values of each kind, absence and `other` among them.
const MAX_VALUES: [usize; KINDS] = [1024, 1024, 1024, 256];

/// Sets kept back for statements whose other labels no longer fit: one for each.
const RESERVED_SETS: usize = MAX_VALUES[0];

/// Sets kept back for heavy ones that come when all others are given. Each text that gets an entry late takes one at least,
/// so this bounds those too.
const LATE_SETS: usize = 1024;

/// What values past a cap are called.
pub(crate) const OTHER: &str = "other";

pub(crate) type ValueId = u16;
pub(crate) type ValueIds = [ValueId; KINDS];
const ABSENT: ValueId = 0;
pub(crate) const OTHER_VALUE: ValueId = 1;

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
    let newcomers = newcomers::bytes();
    let interner = INTERNER.read().unwrap_or_else(PoisonError::into_inner);
    let values = interner.values.iter().flat_map(|values| &values.entries);
    let values = values.map(|value| value.text.len() + 2 * size_of::<Value>()).sum::<usize>();
    let set = size_of::<LabelSet>() + 2 * size_of::<(ValueIds, u32)>();
    size_of_val(&SETS) + interner.shown.len().max(count()) * set + values + newcomers
}

/// The number of a set of values, with [`DEGRADED`] if they were not all kept: then the query knocks, as so many `calls`.
pub(crate) fn number(values: &[&str; KINDS], calls: u64) -> u64 {
    let known = INTERNER.read().unwrap_or_else(PoisonError::into_inner).find(values);
    let found = known.unwrap_or_else(|| lock().insert(values));
    if !found.degraded {
        return u64::from(found.number);
    }
    newcomers::knock(values, found.unknown, found.ids, calls);
    u64::from(found.number) | DEGRADED
}

/// For `turnover`, which changes what numbers stand for.
pub(crate) fn lock() -> RwLockWriteGuard<'static, Interner> {
    INTERNER.write().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock, for as long as what it gives lives.
pub(crate) fn hold() -> Box<dyn Any> {
    Box::new(lock())
}

/// A number for a query.
#[derive(Clone, Copy)]
struct Found {
    number: u32,
    /// The set that the query would have, [`OTHER_VALUE`] for values without an entry.
    ids: ValueIds,
    /// Which those are.
    unknown: [bool; KINDS],
    /// Whether the number stands for anything but the query's own values.
    degraded: bool,
}

/// A value that has or had an entry.
#[derive(Clone, Copy)]
struct Value {
    text: &'static str,
    /// Whether it has one now.
    kept: bool,
}

/// The values of a kind.
struct Values {
    /// By number.
    entries: Vec<Value>,
    numbers: HashMap<&'static str, ValueId>,
    kept: usize,
    cap: usize,
}

impl Values {
    fn new(cap: usize) -> Self {
        let mut values = Self { entries: Vec::new(), numbers: HashMap::new(), kept: 0, cap };
        values.add("");
        values.add(OTHER);
        values
    }

    /// The number of a value that has an entry.
    fn find(&self, text: &str) -> Option<ValueId> {
        self.numbers.get(text).copied().filter(|&id| self.entries[usize::from(id)].kept)
    }

    /// Gives an entry to a text, which never had one or has lost it.
    fn add(&mut self, text: &str) -> ValueId {
        self.kept += 1;
        if let Some(&id) = self.numbers.get(text) {
            self.entries[usize::from(id)].kept = true;
            return id;
        }
        let text: &'static str = Box::leak(text.into());
        let id = self.entries.len() as ValueId;
        self.entries.push(Value { text, kept: true });
        self.numbers.insert(text, id);
        id
    }
}

pub(crate) struct Interner {
    values: [Values; KINDS],
    sets: HashMap<ValueIds, u32>,
    /// The sets by number, whatever became of their values.
    ids: Vec<ValueIds>,
    /// Numbers of those kept back for late ones that were given.
    late: usize,
    /// All that numbers ever stood for.
    shown: HashMap<ValueIds, &'static LabelSet>,
}

impl Interner {
    fn new() -> Self {
        let ids = vec![[ABSENT; KINDS], [OTHER_VALUE; KINDS]];
        let sets = HashMap::from([(ids[0], NO_LABELS), (ids[1], ALL_OTHER)]);
        Self { values: MAX_VALUES.map(Values::new), sets, ids, late: 0, shown: HashMap::new() }
    }

    /// The number, unless a value or the set is new and there is room for it.
    fn find(&self, values: &[&str; KINDS]) -> Option<Found> {
        let mut unknown = [false; KINDS];
        let mut ids = [ABSENT; KINDS];
        for (kind, value) in values.iter().enumerate() {
            ids[kind] = match self.values[kind].find(value) {
                Some(id) => id,
                None if self.values[kind].kept < self.values[kind].cap => return None,
                None => {
                    unknown[kind] = true;
                    OTHER_VALUE
                }
            };
        }
        if let Some(&number) = self.sets.get(&ids) {
            return Some(Found { number, ids, unknown, degraded: unknown != [false; KINDS] });
        }
        if self.has_room(RESERVED_SETS) {
            return None;
        }
        let number = match self.sets.get(&statement_only(ids)) {
            Some(&number) => number,
            None if self.has_room(0) => return None,
            None => ALL_OTHER,
        };
        Some(Found { number, ids, unknown, degraded: true })
    }

    /// Whether numbers are left beside the late ones' and so many more.
    fn has_room(&self, reserved: usize) -> bool {
        self.ids.len() - self.late < MAX_SETS - LATE_SETS - reserved
    }

    fn insert(&mut self, values: &[&str; KINDS]) -> Found {
        // Each turn adds what `find` missed first; one value a kind and one set are all there is to miss.
        for _ in 0..=KINDS + 1 {
            if let Some(found) = self.find(values) {
                return found;
            }
            self.add_first_missing(values);
        }
        let unknown = [false; KINDS];
        Found { number: ALL_OTHER, ids: [OTHER_VALUE; KINDS], unknown, degraded: true }
    }

    fn add_first_missing(&mut self, values: &[&str; KINDS]) {
        let mut ids = [ABSENT; KINDS];
        for (kind, value) in values.iter().enumerate() {
            let of_kind = &mut self.values[kind];
            ids[kind] = match of_kind.find(value) {
                Some(id) => id,
                None if of_kind.kept < of_kind.cap => {
                    of_kind.add(value);
                    return;
                }
                None => OTHER_VALUE,
            };
        }
        self.add_set(if self.has_room(RESERVED_SETS) { ids } else { statement_only(ids) });
    }

    fn add_set(&mut self, ids: ValueIds) {
        let number = self.ids.len();
        let Some(place) = SETS.get(number) else { return };
        place.store(std::ptr::from_ref(self.show(ids)).cast_mut(), Ordering::Release);
        self.ids.push(ids);
        self.sets.insert(ids, number as u32);
        COUNT.store(number as u32 + 1, Ordering::Release);
    }

    /// The set as it may be shown: the same place in memory for the same values.
    pub(crate) fn show(&mut self, ids: ValueIds) -> &'static LabelSet {
        let Self { values, shown, .. } = self;
        shown.entry(ids).or_insert_with(|| {
            let texts = std::array::from_fn(|kind| values[kind].entries[usize::from(ids[kind])].text);
            Box::leak(Box::new(LabelSet { values: texts }))
        })
    }

    /// The sets by number, as they were first given.
    pub(crate) fn sets(&self) -> &[ValueIds] {
        &self.ids
    }

    /// What is left of a set: [`OTHER_VALUE`] for those that have lost their entries.
    pub(crate) fn meaning(&self, ids: ValueIds) -> ValueIds {
        std::array::from_fn(|kind| {
            let id = ids[kind];
            if self.values[kind].entries[usize::from(id)].kept { id } else { OTHER_VALUE }
        })
    }

    /// The text of each value of a kind, by number, and whether it has an entry.
    pub(crate) fn values(&self, kind: usize) -> impl Iterator<Item = (&'static str, bool)> {
        self.values[kind].entries.iter().map(|value| (value.text, value.kept))
    }

    pub(crate) fn is_full(&self, kind: usize) -> bool {
        self.values[kind].kept >= self.values[kind].cap
    }

    /// Whether the text has an entry, and if it had one once, its number.
    pub(crate) fn value(&self, kind: usize, text: &str) -> (bool, Option<ValueId>) {
        (self.values[kind].find(text).is_some(), self.values[kind].numbers.get(text).copied())
    }

    /// Gives an entry to a text that has none. The numbers of its sets stand for it from the next [`publish`](Self::publish).
    pub(crate) fn keep(&mut self, kind: usize, text: &str) -> ValueId {
        self.values[kind].add(text)
    }

    /// Takes a value's entry away.
    pub(crate) fn drop_value(&mut self, kind: usize, id: ValueId) {
        let values = &mut self.values[kind];
        if let Some(value) = values.entries.get_mut(usize::from(id))
            && std::mem::take(&mut value.kept)
        {
            values.kept -= 1;
        }
    }

    /// Makes the numbers of all sets with the value stand for what is left of them.
    pub(crate) fn publish(&mut self, kind: usize, id: ValueId) {
        for (number, place) in SETS.iter().enumerate().take(self.ids.len()).skip(ALL_OTHER as usize + 1) {
            let ids = self.ids[number];
            if ids[kind] == id {
                let meaning = self.meaning(ids);
                let shown = self.show(meaning);
                place.store(std::ptr::from_ref(shown).cast_mut(), Ordering::Release);
            }
        }
    }

    /// How many numbers are left for late ones.
    pub(crate) fn late_left(&self) -> usize {
        LATE_SETS - self.late
    }

    /// Gives a late set a number, if it has none and one is left.
    pub(crate) fn add_late(&mut self, ids: ValueIds) {
        if !self.sets.contains_key(&ids) && self.late_left() > 0 {
            self.late += 1;
            self.add_set(ids);
        }
    }
}

/// What is kept of a set for which there is no room.
fn statement_only(ids: ValueIds) -> ValueIds {
    let [statement, ..] = ids;
    [statement, OTHER_VALUE, OTHER_VALUE, OTHER_VALUE]
}
