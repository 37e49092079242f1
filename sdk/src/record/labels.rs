//! Label sets: what a query runs for, as a small number that a thread can carry.
//!
//! Values are interned up to a cap for each kind; what comes after it shares the value `other`, so
//! that sums over any kind stay exact however many different tenants a client invents. Sets of
//! values are capped too: where that cap comes near, a query gives up one kind after the other and
//! keeps the rest (`fallback`). What runs as `other` and is heavy (`newcomers`) gets an entry all
//! the same, in place of one that does next to nothing (`turnover`).
//!
//! Finding the number costs a hash of the values and, on a hit in the thread's cache, a comparison. Only the
//! first sight of a set by a thread takes a lock, and one in some hundred queries that run as `other`; and only the first
//! sight by the process a writer's.

use std::sync::atomic::{AtomicU32, Ordering};

use super::block::Block;
use super::cells::Cell64;
use super::interner::{self, DEGRADED};
pub use super::label_kind::LabelKind;
pub(crate) use super::label_kind::{KINDS, MAX_SETS};
pub use super::label_value::LabelValue;
use super::newcomers::SAMPLED;

/// Bytes of a value; the rest is cut.
const MAX_BYTES: [usize; KINDS] = [1024, 256, 256, 256];

/// The labels of a query.
#[derive(Debug)]
pub struct LabelSet {
    pub(crate) values: [&'static str; KINDS],
}

impl LabelSet {
    /// The value of a kind, `""` if the query did not say.
    #[must_use]
    pub fn get(&self, kind: LabelKind) -> &'static str {
        self.values[kind as usize]
    }
}

/// The labels that the number stands for. A number that was never given means no labels.
#[must_use]
pub fn label_set(id: u32) -> &'static LabelSet {
    interner::set(id)
}

/// Entries of a thread's cache of label sets, 2^8 of 16 bytes, in pairs: a set may stand in either of two.
pub(crate) const CACHE_ENTRIES: usize = 256;

/// One entry of a thread's cache: the hash of a set's values and its number.
#[derive(Debug)]
pub(crate) struct CacheEntry {
    hash: Cell64,
    /// [`DEGRADED`] in bit 32 if the values of the set are not the query's own.
    id: Cell64,
}

/// A set of labels that was interned once, to use for many queries: per prepared statement, per connection.
///
/// ```
/// use stagelight::{Labels, query};
///
/// struct Prepared {
///     labels: Labels,
/// }
///
/// #[query(labels = statement.labels)]
/// fn execute(statement: &Prepared) {}
///
/// let labels = Labels::new(&"select ?", &"acme", &(), &());
/// execute(&Prepared { labels });
/// ```
///
/// A query then finds its labels for nothing; with values, it hashes and compares them each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Labels(u32);

impl Labels {
    /// Interns a statement's key, a tenant, a user and a database, each anything that can label a query; `&()` says nothing.
    /// Costs what a query with these values does for them: some nanoseconds, or a lock at their first sight.
    ///
    /// What had to be left out of them because a cap was reached stays `other` for these labels, however heavy it becomes: who
    /// keeps labels for long makes them anew now and then. (A value that lost its entry later gets it again by itself.)
    #[must_use]
    #[inline]
    pub fn new<K, T, U, D>(key: &K, tenant: &T, user: &U, database: &D) -> Self
    where
        K: LabelValue + ?Sized,
        T: LabelValue + ?Sized,
        U: LabelValue + ?Sized,
        D: LabelValue + ?Sized,
    {
        let Some(block) = super::thread::block() else { return Self(interner::NO_LABELS) };
        key.with_label(|key| {
            tenant.with_label(|tenant| {
                user.with_label(|user| {
                    database.with_label(|database| Self(intern(block, [key, tenant, user, database])))
                })
            })
        })
    }

    #[inline(always)]
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// The values.
    #[must_use]
    pub fn values(self) -> &'static LabelSet {
        label_set(self.0)
    }
}

/// The labels of a query whose values are all constants: found at the first call, known from then on.
#[derive(Debug)]
pub struct ConstLabels(AtomicU32);

/// None were found yet.
const UNKNOWN: u32 = u32::MAX;

impl ConstLabels {
    /// Of one place in the program.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a static of the macros' making")]
    pub const fn new() -> Self {
        Self(AtomicU32::new(UNKNOWN))
    }

    /// What `find` gives, each time.
    #[inline(always)]
    pub fn get(&self, find: impl FnOnce() -> Labels) -> Labels {
        match self.0.load(Ordering::Relaxed) {
            UNKNOWN => self.keep(find()),
            number => Labels(number),
        }
    }

    /// Labels that had to share a value of others are looked for again: there may come room for their own.
    #[cold]
    #[inline(never)]
    fn keep(&self, labels: Labels) -> Labels {
        if labels.0 != interner::NO_LABELS && !labels.values().values.contains(&interner::OTHER) {
            self.0.store(labels.0, Ordering::Relaxed);
        }
        labels
    }
}

/// The number for a query's labels. Cuts and caps are counted in the block.
#[inline]
pub(crate) fn intern(block: &Block, values: [&str; KINDS]) -> u32 {
    let mut values = values;
    for (value, max) in values.iter_mut().zip(MAX_BYTES) {
        if value.len() > max {
            *value = cut(value, max);
            block.refused.label_length.add(1);
        }
    }
    if values.iter().all(|value| value.is_empty()) {
        return interner::NO_LABELS;
    }
    let hash = hash(&values);
    let pair = hash as usize % (CACHE_ENTRIES / 2) * 2;
    let (first, second) = (&block.label_cache[pair], &block.label_cache[pair + 1]);
    match first.find(hash, &values).or_else(|| second.find(hash, &values)) {
        Some(id) if id & DEGRADED == 0 => id as u32,
        Some(_) if block.next_random().is_multiple_of(SAMPLED) => {
            // What is found replaces what either holds.
            first.forget(hash);
            second.forget(hash);
            miss(block, first, second, hash, &values, SAMPLED)
        }
        Some(id) => {
            block.refused.label_cap.add(1);
            id as u32
        }
        None => miss(block, first, second, hash, &values, 1),
    }
}

impl CacheEntry {
    /// The number that the entry holds for the values.
    #[inline(always)]
    fn find(&self, hash: u64, values: &[&str; KINDS]) -> Option<u64> {
        let id = self.id.get();
        let found = self.hash.get() == hash
            && id != 0
            && (id & DEGRADED != 0 || same(&label_set(id as u32).values, values));
        found.then_some(id)
    }

    /// Owner only: holds nothing any more if it held the values with the hash.
    fn forget(&self, hash: u64) {
        if self.hash.get() == hash {
            self.id.set(0);
        }
    }
}

/// Whether the values are the same. Nothing is read of empty ones: their pointers may lead nowhere, and a comparison
/// that reads ahead, as the C library's does, pays dearly for an address that no page stands behind.
#[inline(always)]
fn same(kept: &[&str; KINDS], values: &[&str; KINDS]) -> bool {
    kept.iter()
        .zip(values)
        .all(|(kept, value)| kept.len() == value.len() && (value.is_empty() || kept == value))
}

/// The newer of a pair stands first, so the older one gives way. `calls` is what this one stands for.
#[cold]
#[inline(never)]
fn miss(
    block: &Block,
    first: &CacheEntry,
    second: &CacheEntry,
    hash: u64,
    values: &[&str; KINDS],
    calls: u64,
) -> u32 {
    let found = interner::number(values, calls);
    if first.id.get() != 0 {
        second.hash.set(first.hash.get());
        second.id.set(first.id.get());
    }
    first.hash.set(hash);
    first.id.set(found);
    if found & DEGRADED != 0 {
        block.refused.label_cap.add(1);
    }
    found as u32
}

/// The longest prefix of at most `max` bytes that ends between characters.
#[cold]
pub(crate) fn cut(value: &str, max: usize) -> &str {
    &value[..value.floor_char_boundary(max)]
}

/// Multiply and fold, eight bytes at a time. Each value's length goes in first, so that moving a byte from
/// one value to the next changes the hash.
#[inline(always)]
pub(crate) fn hash(values: &[&str]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    fn mix(hash: u64, word: u64) -> u64 {
        let wide = u128::from(hash ^ word) * u128::from(K);
        (wide as u64) ^ (wide >> 64) as u64
    }
    let mut hash = interner::seed();
    for value in values {
        hash = mix(hash, value.len() as u64 ^ K);
        let mut chunks = value.as_bytes().chunks_exact(8);
        for chunk in &mut chunks {
            hash = mix(hash, u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            hash = mix(hash, u64::from_le_bytes(word));
        }
    }
    mix(hash, K)
}

/// What `#[query(labels = EXPR)]` takes: [`Labels`], references to them, or an option of either.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no labels that were interned",
    label = "`labels` takes a `stagelight::Labels`, a reference to one or an option of one",
    note = "make it by `Labels::new(&key, &tenant, &user, &database)`, or give single values: `key = …, tenant = …`"
)]
pub trait Interned {
    /// The labels; those of nothing where there are none.
    fn interned(&self) -> Labels;
}

impl Interned for Labels {
    #[inline(always)]
    fn interned(&self) -> Labels {
        *self
    }
}

impl<T: Interned> Interned for Option<T> {
    #[inline(always)]
    fn interned(&self) -> Labels {
        self.as_ref().map_or(Labels(interner::NO_LABELS), T::interned)
    }
}

macro_rules! interned_through {
    ($($pointer:ty),*) => {$(
        impl<T: Interned + ?Sized> Interned for $pointer {
            #[inline(always)]
            fn interned(&self) -> Labels {
                T::interned(self)
            }
        }
    )*};
}
interned_through!(&T, &mut T, Box<T>, std::rc::Rc<T>, std::sync::Arc<T>);

/// The labels that a query is given. Called by `#[query]`.
#[inline(always)]
pub fn labels_of<T: Interned + ?Sized>(labels: &T) -> Labels {
    labels.interned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_between_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("ab", 2), "ab");
    }

    #[test]
    fn the_hash_tells_neighbouring_values_apart() {
        assert_ne!(hash(&["ab", "c", "", ""]), hash(&["a", "bc", "", ""]));
        assert_ne!(hash(&["", "c", "", ""]), hash(&["c", "", "", ""]));
        assert_ne!(hash(&["12345678", "", "", ""]), hash(&["12345678\0", "", "", ""]));
    }

    #[test]
    fn the_same_labels_are_one_number_on_a_hit_and_on_a_miss() {
        let (one, two) = (Block::map().unwrap(), Block::map().unwrap());
        let labels = ["select labels_test", "acme", "", "main"];
        let id = intern(one, labels);
        assert_eq!((id, id), (intern(one, labels), intern(two, labels)));
        assert_ne!(id, intern(one, ["select labels_test", "acme", "main", ""]));
        assert_eq!(label_set(id).get(LabelKind::Tenant), "acme");
        assert_eq!(intern(one, [""; KINDS]), 0);
    }

    #[test]
    fn a_megabyte_of_text_is_cut_and_counted() {
        let block = Block::map().unwrap();
        let text = "ö".repeat(1 << 19);
        let id = intern(block, [&text, "", "", ""]);
        let kept = label_set(id).get(LabelKind::Statement);
        assert!(text.starts_with(kept) && kept.len() == MAX_BYTES[0]);
        assert_eq!(block.refused.label_length.get(), 1);
    }
}
