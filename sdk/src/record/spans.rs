//! The spans of the query that is running, in a ring of the thread's block.
//!
//! A stage writes its span when it is left, so children come before their parent and depths tell
//! the tree: entering costs nothing. What is written stays provisional until the query's end, when
//! it is known whether the query is kept: because it was chosen at its start, because it was slow,
//! or because something in it failed. Then the ring's end is published; else it is taken back.
//! Nothing waits.
//!
//! # Room
//! A running query always has room for [`ROOM`] records. Of one with more spans the shorter ones go
//! (`span_room`), and their number is told. What is published waits in the rest of the ring for the
//! reader: chosen queries may fill an eighth of it, slow ones more, failed ones all, and once half
//! of that is full the queries with one label set no more than their share. So those that matter
//! least give way first, and a flood of one kind leaves room for what is rare.
//!
//! # Why this is sound
//! `end` is written by the owner alone and `begin` by the one reader alone, who holds the lock of
//! `collect::traces`. The owner writes at most [`ROOM`] records from the published end on; the
//! reader reads up to the published end. Publishing releases, reading it acquires. The owner
//! publishes only where what is unread then leaves as much room as a query may take, by a `begin`
//! that it has acquired: so it never writes what is not read yet.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::block::{Block, Timing};
use super::cells::Cell64;
use super::label_kind::MAX_SETS;
pub(crate) use super::span_record::{
    ATTRIBUTE, DEPTH_SHIFT, ERROR, EVENT, FAILED, HEAD, NUMBER_SHIFT, Record, SLOW, SPAN, TRACE,
};
use super::span_record::{WORDS, depth_bits};
use super::span_room::{self, Records};

/// Records of a thread's ring, 96 KiB.
const RECORDS: usize = 2048;

/// Records of a query.
const ROOM: usize = span_room::MOST;

/// Of these the last two are for its own span and for what says whose the others are.
const LAST: usize = ROOM - 2;

/// Unread records beyond which no further queries are published: that were chosen alone, that were
/// slow, that failed.
const UNREAD_CHOSEN: u64 = RECORDS as u64 / 8;
const UNREAD_SLOW: u64 = RECORDS as u64 * 3 / 8;
const UNREAD_FAILED: u64 = (RECORDS - 2 * ROOM) as u64;

/// The ring of one thread.
#[repr(C)]
pub(crate) struct SpanRing {
    /// Where the reader goes on.
    begin: AtomicU64,
    /// Up to where records are published.
    published: AtomicU64,
    /// Up to where the owner has written.
    end: Cell64,
    /// The random number that the running query's ids are made of; 0 while no query is followed.
    seed: Cell64,
    /// Of a trace that began elsewhere: its id, and the span there that the query belongs to.
    remote: [Cell64; 3],
    /// Whether any span of the running query failed.
    failed: Cell64,
    /// What a span of the running query must weigh to be kept, and how many were too light.
    least: Cell64,
    omitted: Cell64,
    /// Where the span that comes next is a query's own: its label set plus 1, and [`ROOT`] if no
    /// query encloses it.
    query: Cell64,
    /// Records that were published since the reader last had read all, by label set.
    shares: [Cell64; SHARES],
    pub(crate) refused: Refused,
    records: [[Cell64; WORDS]; RECORDS],
}

/// Label sets whose share of the ring is told apart; those beyond share one.
const SHARES: usize = 16;

/// What did not become part of a trace, by cause.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Attributes and events beyond what a query has room for.
    pub(crate) notes: Cell64,
    /// Spans of queries that were kept which were too short.
    pub(crate) short_spans: Cell64,
    /// Chosen queries beyond what the reader takes, and queries beyond the share of their label
    /// set.
    pub(crate) thinned: Cell64,
    /// Slow and failed ones.
    pub(crate) traces: Cell64,
}

/// What of a query outlasts a poll.
#[derive(Debug, Default)]
pub(crate) struct Suspended {
    pub(crate) records: Vec<Record>,
    failed: u64,
    least: u64,
    omitted: u64,
}

/// Marks in [`SpanRing::query`] the query that no other encloses.
const ROOT: u64 = 1 << 32;

/// One in how many followed queries is kept without any other reason, as a threshold for 32 random bits; 0 while nobody
/// takes spans.
static HEAD_THRESHOLD: AtomicU32 = AtomicU32::new(0);

/// Nanoseconds beyond which a query with a label set is slow. Written by the collector once a window.
static SLOW_NS: [AtomicU64; MAX_SETS] = [const { AtomicU64::new(u64::MAX) }; MAX_SETS];

/// Follows queries from now on and keeps that share of them; `None` follows none.
pub(crate) fn follow(head_share: Option<f64>) {
    let threshold =
        head_share.map_or(0, |share| ((share.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32).max(1));
    HEAD_THRESHOLD.store(threshold, Ordering::Relaxed);
}

/// Raises what is slow for a label set; for long, if it is said so again once a window.
pub(crate) fn raise_slow(set: usize, ns: u64) {
    if let Some(slow) = SLOW_NS.get(set) {
        slow.fetch_max(ns, Ordering::Relaxed);
    }
}

pub(crate) fn set_slow(set: usize, ns: u64) {
    if let Some(slow) = SLOW_NS.get(set) {
        slow.store(ns, Ordering::Relaxed);
    }
}

/// Ids of a trace, made of a seed or taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) trace: [u64; 2],
    /// The query's own span.
    pub(crate) root: u64,
    /// The span elsewhere that it belongs to, 0 for none.
    pub(crate) parent: u64,
}

fn mix(value: u64) -> u64 {
    let wide = u128::from(value ^ 0x9e37_79b9_7f4a_7c15) * u128::from(value | 0xa076_1d64_78bd_642f);
    ((wide as u64) ^ (wide >> 64) as u64).max(1)
}

/// The id of the n-th span of a trace whose root has this id.
pub(crate) fn span_id(root: u64, n: u64) -> u64 {
    mix(root.wrapping_add(n.wrapping_mul(0xe703_7ed1_a0b4_28db)))
}

impl SpanRing {
    /// Owner only: a timed query begins. It is followed if anyone wants spans.
    #[inline(always)]
    pub(crate) fn begin_query(&self, random: impl FnOnce() -> u64) {
        if HEAD_THRESHOLD.load(Ordering::Relaxed) != 0 {
            self.resume(random() | 1);
        }
    }

    /// Owner only: records from here on belong to the query with the seed.
    pub(crate) fn resume(&self, seed: u64) {
        self.end.set(self.published.load(Ordering::Relaxed));
        self.seed.set(seed);
        self.remote.iter().for_each(|word| word.set(0));
        for word in [&self.failed, &self.least, &self.omitted, &self.query] {
            word.set(0);
        }
    }

    /// Owner only: the span that comes next is that of a query with the label set.
    #[inline(always)]
    pub(crate) fn begin_own(&self, set: u32, root: bool) {
        if self.seed.get() != 0 {
            self.query.set((u64::from(set) + 1) | if root { ROOT } else { 0 });
        }
    }

    /// Owner only: something in the running query failed.
    pub(crate) fn fail(&self) {
        self.failed.set(1);
    }

    /// Owner only: it has come, or did not.
    #[inline(always)]
    pub(crate) fn end_own(&self) {
        self.query.set(0);
    }

    /// Owner only: whether a query is followed; its seed.
    #[inline(always)]
    pub(crate) fn seed(&self) -> u64 {
        self.seed.get()
    }

    /// Owner only: no query is followed any more. What was not published is taken back by the next one.
    pub(crate) fn leave_query(&self) {
        self.seed.set(0);
    }

    pub(crate) fn set_remote(&self, remote: [u64; 3]) {
        for (word, value) in self.remote.iter().zip(remote) {
            word.set(value);
        }
    }

    pub(crate) fn remote(&self) -> [u64; 3] {
        [0, 1, 2].map(|index: usize| self.remote[index].get())
    }

    /// The ids of the query that is followed.
    pub(crate) fn ids(&self) -> Option<Ids> {
        let seed = self.seed();
        (seed != 0).then(|| Self::ids_of(seed, self.remote()))
    }

    pub(crate) fn ids_of(seed: u64, remote: [u64; 3]) -> Ids {
        let [high, low, parent] = remote;
        let trace = if high | low == 0 { [mix(seed), mix(!seed)] } else { [high, low] };
        Ids { trace, root: mix(seed.rotate_left(32)), parent }
    }

    /// Records of the running query.
    fn count(&self) -> usize {
        self.end.get().wrapping_sub(self.published.load(Ordering::Relaxed)) as usize
    }

    /// Owner only. There is room.
    fn write(&self, record: Record) {
        let end = self.end.get();
        for (word, value) in self.records[end as usize % RECORDS].iter().zip(record) {
            word.set(value);
        }
        self.end.set(end.wrapping_add(1));
    }

    /// Owner only: an attribute or an event.
    #[cold]
    pub(crate) fn push_note(&self, record: Record) {
        if self.count() < LAST || self.make_room() {
            self.write(record);
        } else {
            self.refused.notes.add(1);
        }
    }

    /// Owner only: a stage of the query that is followed was left.
    #[inline]
    pub(crate) fn push_span(
        &self,
        depth: u32,
        stage: u32,
        failed: bool,
        start: u64,
        ns: u64,
        allocated: u64,
    ) {
        let flags = if failed { FAILED } else { 0 };
        let head = SPAN | depth_bits(depth) | flags | u64::from(stage) << NUMBER_SHIFT;
        let query = self.query.get();
        self.query.set(0);
        if failed {
            self.failed.set(1);
        }
        let root = query & ROOT != 0;
        if !root
            && (span_room::weight(ns, failed) < self.least.get() || self.count() >= LAST && !self.make_room())
        {
            return self.omit(depth);
        }
        self.write([head, start, ns, allocated, query & !ROOT, 0]);
    }

    /// Owner only: a span of that depth is left out, with what was noted on it, which came last.
    fn omit(&self, depth: u32) {
        self.omitted.add(1);
        let start = self.published.load(Ordering::Relaxed);
        let running = Running { ring: self, start };
        let mut count = self.count();
        while count > 0 && span_room::is_note_below(&running.get(count - 1), depth.min(255) as u8) {
            count -= 1;
        }
        self.end.set(start.wrapping_add(count as u64));
    }

    /// Owner only: takes out the shorter spans of the running query. Whether there is room now.
    #[cold]
    #[inline(never)]
    fn make_room(&self) -> bool {
        if self.least.get() == u64::MAX {
            return false;
        }
        let start = self.published.load(Ordering::Relaxed);
        let thinned = span_room::thin(&mut Running { ring: self, start }, self.count());
        self.end.set(start.wrapping_add(thinned.left as u64));
        self.least.set(thinned.least);
        self.omitted.add(thinned.omitted);
        thinned.left < LAST
    }

    /// Owner only: whether one more query with the label set leaves room for those with others: of
    /// half of what may be unread each set gets half.
    fn has_share(&self, set: u32, unread: u64, most: u64) -> bool {
        if unread == 0 {
            self.shares.iter().for_each(|share| share.set(0));
        }
        unread <= most / 2 || self.shares[set as usize % SHARES].get() <= most / 4
    }

    /// Owner only: the query has ended; keeps its records or takes them back.
    #[cold]
    pub(crate) fn end_query(&self, set: u32, failed: bool, ns: u64) {
        let seed = self.seed.get();
        self.seed.set(0);
        let failed = failed || self.failed.get() != 0;
        let head = (seed >> 32) as u32 <= HEAD_THRESHOLD.load(Ordering::Relaxed);
        let slow = ns > SLOW_NS[set as usize % MAX_SETS].load(Ordering::Relaxed);
        if !head && !slow && !failed {
            return;
        }
        let unread = self.published.load(Ordering::Relaxed).wrapping_sub(self.begin.load(Ordering::Acquire));
        let (most, refused) = match (failed, slow) {
            (true, _) => (UNREAD_FAILED, &self.refused.traces),
            (false, true) => (UNREAD_SLOW, &self.refused.traces),
            (false, false) => (UNREAD_CHOSEN, &self.refused.thinned),
        };
        if unread > most {
            return refused.add(1);
        }
        if !self.has_share(set, unread, most) {
            return self.refused.thinned.add(1);
        }
        let ids = Self::ids_of(seed, self.remote());
        let flags = [(failed, FAILED), (head, HEAD), (slow, SLOW)];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag);
        self.write([
            TRACE | flags | u64::from(set) << NUMBER_SHIFT,
            ids.trace[0],
            ids.trace[1],
            ids.root,
            ids.parent,
            self.omitted.get(),
        ]);
        self.refused.short_spans.add(self.omitted.get());
        self.shares[set as usize % SHARES].add(self.count() as u64);
        self.published.store(self.end.get(), Ordering::Release);
    }

    /// Owner only: takes back what was written since the query was resumed, to keep it elsewhere between polls.
    pub(crate) fn suspend(&self, kept: &mut Suspended) {
        let start = self.published.load(Ordering::Relaxed);
        let running = Running { ring: self, start };
        for index in 0..self.count() {
            let record = running.get(index);
            if kept.records.len() >= LAST && !kept.make_room() {
                match record[0] & 0xff {
                    SPAN => kept.omitted += 1,
                    _ => self.refused.notes.add(1),
                }
                continue;
            }
            kept.records.push(record);
        }
        kept.failed |= self.failed.get();
        kept.least = kept.least.max(self.least.get());
        kept.omitted += self.omitted.get();
        self.end.set(start);
        self.seed.set(0);
    }

    /// Owner only: goes on with a query that was suspended, once it was [resumed](Self::resume).
    pub(crate) fn go_on(&self, kept: &Suspended) {
        self.failed.set(kept.failed);
        self.least.set(kept.least);
    }

    /// Owner only: the query ends, and all its records come back.
    pub(crate) fn take_back(&self, kept: &Suspended) {
        self.go_on(kept);
        self.omitted.set(kept.omitted);
        kept.records.iter().for_each(|record| self.write(*record));
    }

    /// Takes what was published. One reader at a time, who holds the lock of the traces.
    pub(crate) fn drain(&self, mut take: impl FnMut(Record)) {
        let published = self.published.load(Ordering::Acquire);
        let mut begin = self.begin.load(Ordering::Relaxed);
        while begin != published {
            let record = &self.records[begin as usize % RECORDS];
            take(std::array::from_fn(|word| record[word].get()));
            begin = begin.wrapping_add(1);
        }
        self.begin.store(begin, Ordering::Release);
    }

    /// Bytes of the ring that were ever touched, at most.
    pub(crate) fn used_bytes(&self) -> usize {
        (self.published.load(Ordering::Relaxed) as usize).min(RECORDS) * size_of::<Record>()
    }
}

/// The records of the query that runs on the ring's thread.
struct Running<'a> {
    ring: &'a SpanRing,
    start: u64,
}

impl Running<'_> {
    fn record(&self, index: usize) -> &[Cell64; WORDS] {
        &self.ring.records[self.start.wrapping_add(index as u64) as usize % RECORDS]
    }
}

impl Records for Running<'_> {
    fn get(&self, index: usize) -> Record {
        self.record(index).each_ref().map(Cell64::get)
    }

    fn set(&mut self, index: usize, record: Record) {
        for (word, value) in self.record(index).iter().zip(record) {
            word.set(value);
        }
    }
}

impl Suspended {
    /// As [`SpanRing::make_room`].
    #[cold]
    fn make_room(&mut self) -> bool {
        if self.least == u64::MAX {
            return false;
        }
        let count = self.records.len();
        let thinned = span_room::thin(&mut &mut self.records[..], count);
        self.records.truncate(thinned.left);
        self.least = self.least.max(thinned.least);
        self.omitted += thinned.omitted;
        thinned.left < LAST
    }
}

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A text that is part of the program.
    Text(&'static str),
}

impl Value {
    /// Type, and two words that hold the value.
    fn encode(self) -> (u64, [u64; 2]) {
        match self {
            Value::Int(value) => (0, [value as u64, 0]),
            Value::Float(value) => (1, [value.to_bits(), 0]),
            Value::Bool(value) => (2, [u64::from(value), 0]),
            Value::Text(text) => (3, text_words(text)),
        }
    }

    /// # Safety
    /// The words are those that `encode` gave.
    pub(crate) unsafe fn decode(kind: u64, words: [u64; 2]) -> Self {
        match kind {
            0 => Value::Int(words[0] as i64),
            1 => Value::Float(f64::from_bits(words[0])),
            2 => Value::Bool(words[0] != 0),
            // SAFETY: by the caller's promise.
            _ => Value::Text(unsafe { text(words) }),
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Value::$variant(value.into())
            }
        }
    )*};
}
value_from!(i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => Int, u16 => Int, u32 => Int, f32 => Float, f64 => Float,
    bool => Bool, &'static str => Text);

/// Beyond `i64::MAX` it stays there.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

/// As from `u64`.
impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::from(value as u64)
    }
}

pub(crate) fn text_words(text: &'static str) -> [u64; 2] {
    [text.as_ptr().expose_provenance() as u64, text.len() as u64]
}

/// # Safety
/// The words are those that `text_words` gave for a text.
pub(crate) unsafe fn text(words: [u64; 2]) -> &'static str {
    let start = std::ptr::with_exposed_provenance(words[0] as usize);
    // SAFETY: by the caller's promise they are the start and the length of a text that lives for ever.
    unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(start, words[1] as usize)) }
}

/// Notes an attribute on the stage that the calling thread is in, if its query is followed.
pub fn record(key: &'static str, value: impl Into<Value>) {
    if let Some(block) = super::thread::present()
        && block.spans.seed() != 0
    {
        push_attribute(block, key, value.into(), 0);
    }
}

/// Notes an event in the stage that the calling thread is in, if its query is followed. Called by `event!`.
pub fn event(name: &'static str, attributes: &[(&'static str, Value)]) {
    let Some(block) = super::thread::present() else { return };
    if block.spans.seed() == 0 {
        return;
    }
    let [start, length] = text_words(name);
    block.spans.push_note([EVENT | depth_bits(block.depth()), block.ticks(), start, length, 0, 0]);
    for (key, value) in attributes {
        // Flagged as the event's, not the span's.
        push_attribute(block, key, *value, HEAD);
    }
}

fn push_attribute(block: &Block, key: &'static str, value: Value, flag: u64) {
    let (kind, [first, second]) = value.encode();
    let [start, length] = text_words(key);
    let head = ATTRIBUTE | depth_bits(block.depth()) | flag | kind << NUMBER_SHIFT;
    block.spans.push_note([head, start, length, first, second, 0]);
}

/// What a stage that was timed leaves in the ring, if its query is followed.
#[inline(always)]
pub(crate) fn leave(
    block: &Block,
    depth: u32,
    stage: u32,
    failed: bool,
    start: u64,
    timing: Timing,
    allocated: u64,
) {
    if block.spans.seed() != 0 {
        block.spans.push_span(depth, stage, failed, start, timing.ns, allocated);
    }
}
