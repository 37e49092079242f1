//! The process's table of label sets: the slow path of `labels`, taken at a thread's first sight of a set.
//!
//! A value that has lost its entry (`turnover`) keeps its number here, so that it gets the same one when it comes again. A
//! set's number is never given to another set, since statements, threads and samples may hold it for ever; when one of its
//! values loses its entry, what the number stands for says `other` in that place. That is also how the threads' caches
//! learn of it: they compare with what the number stands for.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock, RwLockWriteGuard};

use super::fallback::{Known, LATE_SETS, Ladder, NUMBERS};
use super::labels::{KINDS, LabelSet, MAX_SETS};
use super::newcomers;

/// Different values of a kind, absence and `other` among them.
pub(crate) const MAX_VALUES: usize = 1024;

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
    newcomers::knock(values, found.unknown, found.ids, &found.missing, calls);
    u64::from(found.number) | DEGRADED
}

/// Why values of each kind count as `other`.
pub(crate) fn shortages() -> [Shortage; KINDS] {
    INTERNER.read().unwrap_or_else(PoisonError::into_inner).shortages()
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
    /// The sets without a number that the query would rather run under.
    missing: Missing,
    /// Whether the number stands for anything but the query's own values.
    degraded: bool,
}

/// Sets that have no number, at most one for each kind.
#[derive(Clone, Copy, Default)]
pub(crate) struct Missing {
    sets: [ValueIds; KINDS],
    count: usize,
}

impl Missing {
    fn push(&mut self, set: ValueIds) {
        if let Some(place) = self.sets.get_mut(self.count) {
            *place = set;
            self.count += 1;
        }
    }

    pub(crate) fn sets(&self) -> &[ValueIds] {
        &self.sets[..self.count]
    }
}

/// Where a query runs of whose values each has an entry or is `other`.
enum Place {
    /// Under this number.
    At(u32, Missing),
    /// Under a set that gets a number.
    New(ValueIds),
}

/// Why values of a kind count as `other`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// More values came than can have an entry.
    pub(crate) values: bool,
    /// The kind was given up where no number was left for a set.
    pub(crate) sets: bool,
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
    /// A text came for which there was no entry.
    full: bool,
}

impl Values {
    fn new() -> Self {
        let mut values = Self { entries: Vec::new(), numbers: HashMap::new(), kept: 0, full: false };
        values.add("");
        values.add(OTHER);
        values
    }

    /// The number of a value that has an entry.
    fn find(&self, text: &str) -> Option<ValueId> {
        self.numbers.get(text).copied().filter(|&id| self.entries[usize::from(id)].kept)
    }

    /// How many values there are beside absence and `other`.
    fn known(&self) -> Known {
        Known { values: self.kept.saturating_sub(2), full: self.full }
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
    /// What sets give up, by how many values each kind has.
    ladder: Ladder,
    /// Kinds that were given up.
    given_up: [AtomicBool; KINDS],
}

impl Interner {
    fn new() -> Self {
        let ids = vec![[ABSENT; KINDS], [OTHER_VALUE; KINDS]];
        let sets = HashMap::from([(ids[0], NO_LABELS), (ids[1], ALL_OTHER)]);
        let values: [Values; KINDS] = std::array::from_fn(|_| Values::new());
        let ladder = Ladder::new(&values.each_ref().map(Values::known));
        let given_up = [const { AtomicBool::new(false) }; KINDS];
        Self { values, sets, ids, late: 0, shown: HashMap::new(), ladder, given_up }
    }

    /// The number, unless a value or the set is new and there is room for it.
    fn find(&self, values: &[&str; KINDS]) -> Option<Found> {
        let mut unknown = [false; KINDS];
        let mut ids = [ABSENT; KINDS];
        for (kind, value) in values.iter().enumerate() {
            ids[kind] = match self.values[kind].find(value) {
                Some(id) => id,
                None if !self.values[kind].full => return None,
                None => {
                    unknown[kind] = true;
                    OTHER_VALUE
                }
            };
        }
        let Place::At(number, missing) = self.place(ids) else { return None };
        let degraded = unknown != [false; KINDS] || missing.count != 0;
        Some(Found { number, ids, unknown, missing, degraded })
    }

    /// Where a query with these values runs: under their own set, or the first one down the ladder
    /// that has a number or gets one.
    fn place(&self, ids: ValueIds) -> Place {
        let left = NUMBERS.saturating_sub(self.ids.len() - 2 - self.late);
        let (mut set, mut missing) = (ids, Missing::default());
        for given_up in 0..=KINDS {
            if let Some(last) = given_up.checked_sub(1) {
                let kind = self.ladder.order[last];
                if ![ABSENT, OTHER_VALUE].contains(&set[kind]) {
                    missing.push(set);
                    set[kind] = OTHER_VALUE;
                    // Looked at first, so that threads don't all write to it.
                    if !self.given_up[kind].load(Ordering::Relaxed) {
                        self.given_up[kind].store(true, Ordering::Relaxed);
                    }
                }
            }
            if let Some(&number) = self.sets.get(&set) {
                return Place::At(number, missing);
            }
            if left > self.ladder.reserve(given_up) {
                return Place::New(set);
            }
        }
        missing.push(set);
        Place::At(ALL_OTHER, missing)
    }

    fn insert(&mut self, values: &[&str; KINDS]) -> Found {
        // Each turn adds what `find` missed first; one value a kind and one set are all there is to miss.
        for _ in 0..=KINDS + 1 {
            if let Some(found) = self.find(values) {
                return found;
            }
            self.add_first_missing(values);
        }
        let (unknown, missing) = ([false; KINDS], Missing::default());
        Found { number: ALL_OTHER, ids: [OTHER_VALUE; KINDS], unknown, missing, degraded: true }
    }

    fn add_first_missing(&mut self, values: &[&str; KINDS]) {
        let mut ids = [ABSENT; KINDS];
        for (kind, value) in values.iter().enumerate() {
            let of_kind = &mut self.values[kind];
            ids[kind] = match of_kind.find(value) {
                Some(id) => id,
                None if of_kind.full => OTHER_VALUE,
                None => {
                    if of_kind.kept < MAX_VALUES {
                        of_kind.add(value);
                    } else {
                        of_kind.full = true;
                    }
                    self.ladder = Ladder::new(&self.values.each_ref().map(Values::known));
                    return;
                }
            };
        }
        if let Place::New(set) = self.place(ids) {
            self.add_set(set);
        }
    }

    /// Why values of each kind count as `other`.
    pub(crate) fn shortages(&self) -> [Shortage; KINDS] {
        std::array::from_fn(|kind| Shortage {
            values: self.values[kind].full,
            sets: self.given_up[kind].load(Ordering::Relaxed),
        })
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
        self.values[kind].kept >= MAX_VALUES
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
