//! A thread's block: all that the record path writes, in one piece of zeroed memory.
//!
//! # Why this is sound
//! 1. A block has one writer at a time, the thread that holds it (`thread`); all others only read.
//! 2. Every word is an atomic that is read and written relaxed, so readers see past values, never torn ones.
//! 3. All-zero bytes are a valid, empty block. The memory is mapped, so pages that no stage touched cost
//!    nothing: a block reserves three megabytes and uses a few KiB.
//! 4. Blocks are never freed. A block that a thread left is taken by the next thread and goes on counting
//!    from where it stood: counts only grow, and readers take differences.

mod figures;
mod nesting;

pub(crate) use figures::{LabelCounts, LabelFigures, StageFigures};
pub(crate) use nesting::Nesting;
use nesting::{Places, Recursion};

use std::sync::atomic::{AtomicPtr, AtomicU16, AtomicU32, Ordering, compiler_fence};

use super::cells::Cell64;
use super::clock::Clock;
use super::durations::{Durations, slots};
use super::interner::NO_LABELS;
use super::labels::{CACHE_ENTRIES, CacheEntry, MAX_SETS};
use super::lines::{Lines, reserve};
use super::octaves::{COARSE, FINE};
use super::spans::SpanRing;
use super::stage::MAX_STAGES;
use super::thread::Sampled;

/// Stages that a thread's path names. Deeper ones are counted and timed like all others; samplers see the last one that
/// the path has room for.
pub(crate) const PATH: usize = 64;

/// Label sets whose figures a thread makes room for at once.
const SETS_PER_CHUNK: usize = 8;
const LABEL_CHUNKS: usize = MAX_SETS / SETS_PER_CHUNK;

const _: () = assert!(MAX_STAGES.is_power_of_two() && MAX_SETS.is_multiple_of(SETS_PER_CHUNK));
const _: () = assert!(LABEL_CHUNKS < u16::MAX as usize);
const _: () = assert!(size_of::<StageCells>() == 256, "a stage's figures fill four cache lines");
const _: () = assert!(size_of::<LabelCells>() == 128, "a label set's figures fill two cache lines");

/// What one thread recorded of one stage. Times are weighted: what one timed call stands for. What each call writes fills
/// the first cache line.
#[repr(C, align(64))]
struct StageCells {
    total_ns: Cell64,
    self_ns: Cell64,
    allocated: Cell64,
    untimed: Cell64,
    errors: Cell64,
    durations: Durations<{ slots(FINE) }>,
    panics: Cell64,
    /// Async stages: times that they were polled, time between polls, and drops before they were done.
    polls: Cell64,
    awaiting_ns: Cell64,
    cancelled: Cell64,
}

/// What one thread recorded of one label set.
#[repr(C, align(64))]
struct LabelCells {
    calls: Cell64,
    errors: Cell64,
    /// Without that of queries nested in them.
    self_ns: Cell64,
    allocated: Cell64,
    /// Stages entered within, of those that were timed.
    stages: Cell64,
    rows: Cell64,
    /// Async queries that began less those that ended, on this thread: the sum over all threads is what is under way.
    live: Cell64,
    durations: Durations<{ slots(COARSE) }>,
}

/// What a thread had to refuse, by cause.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Label values that were cut to the longest length.
    pub(crate) label_length: Cell64,
    /// Queries that run under `other` because a cap on label values or sets is reached.
    pub(crate) label_cap: Cell64,
    /// Queries whose figures found no room.
    label_room: Cell64,
}

/// See the module's documentation.
#[repr(C, align(64))]
pub(crate) struct Block {
    /// Stages that the thread is in, and which: what samplers and the active history read.
    depth: AtomicU32,
    /// The label set of the query that the thread is in.
    labels: AtomicU32,
    /// What a timed call stands for in the query, or outermost stage, that is running; 0 if it is not timed.
    weight: AtomicU32,
    tsc: AtomicU32,
    /// Time of the finished children of the stage that is running.
    pub(crate) child_ns: Cell64,
    /// The thread's count of allocated bytes, kept by the allocator; points to a constant 0 where none does.
    allocated: AtomicPtr<u64>,
    ns_per_tick: Cell64,
    /// Timed stage calls so far.
    pub(crate) entered: Cell64,
    random: Cell64,
    path: [AtomicU32; PATH],
    places: Places,
    /// Of the finished queries within the query that is running: their time, allocated bytes and stage calls.
    pub(crate) nested_ns: Cell64,
    pub(crate) nested_allocated: Cell64,
    pub(crate) nested_entered: Cell64,
    /// When the query that is running was entered, in ticks; 0 if it is not timed.
    pub(crate) query_start: Cell64,
    /// Rows that were reported so far.
    pub(crate) rows: Cell64,
    /// The owner's stack, from its lowest address to its end; both 0 if unknown.
    stack: [Cell64; 2],
    /// The owner's thread id, 0 while the block is free.
    tid: AtomicU32,
    label_chunks_used: AtomicU32,
    /// The sum of all label sets' `live`.
    live: Cell64,
    pub(crate) refused: Refused,
    pub(crate) label_cache: [CacheEntry; CACHE_ENTRIES],
    /// The chunk that holds the figures of each eight label sets, plus 1; 0 for none yet.
    label_chunks: [AtomicU16; LABEL_CHUNKS],
    pub(crate) spans: SpanRing,
    stages: [StageCells; MAX_STAGES],
    label_cells: [[LabelCells; SETS_PER_CHUNK]; LABEL_CHUNKS],
    /// Of the queries with each of those label sets, the time of queries nested in them, weighted.
    label_nested: [[Cell64; SETS_PER_CHUNK]; LABEL_CHUNKS],
    lines: Lines,
    recursion: Recursion,
}

/// A finished call that was timed.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) ns: u64,
    /// Without the children's.
    pub(crate) own_ns: u64,
    /// What the call stands for.
    pub(crate) weight: u32,
}

/// A finished query.
#[derive(Clone, Copy)]
pub(crate) struct Query {
    pub(crate) failed: bool,
    /// These four without what belongs to queries nested in it.
    pub(crate) allocated: u64,
    pub(crate) stages: u64,
    pub(crate) rows: u64,
    pub(crate) timing: Option<Timing>,
}

static NO_ALLOCATION_COUNTER: u64 = 0;

impl Block {
    /// A new, empty block that lives for ever, or `None` if there is no memory.
    pub(crate) fn map() -> Option<&'static Block> {
        // So that who records has the note: a linker may leave out what nobody refers to.
        let _ = crate::copy_note::own();
        let memory = map_zeroed::<Block>()?;
        // SAFETY: the memory is zeroed, of the size and alignment of a block and never unmapped; all-zero
        // is a valid block (invariant 3).
        Some(unsafe { &*memory })
    }

    /// Makes the block ready for its new owner, which calls this before it records.
    pub(crate) fn adopt(&self, tid: u32, allocated: Option<*const u64>, clock: Clock) {
        let allocated = allocated.unwrap_or(&raw const NO_ALLOCATION_COUNTER);
        self.allocated.store(allocated.cast_mut(), Ordering::Relaxed);
        self.tsc.store(u32::from(clock.tsc), Ordering::Relaxed);
        self.ns_per_tick.set(clock.ns_per_tick);
        self.child_ns.set(0);
        self.forget_nested();
        self.random.add(u64::from(tid) << 32 | self.ticks() & 0xffff_ffff);
        self.clear();
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// Owner only: where its stack lies.
    pub(crate) fn set_stack(&self, [low, high]: [u64; 2]) {
        self.stack[0].set(low);
        self.stack[1].set(high);
    }

    pub(crate) fn stack(&self) -> [u64; 2] {
        [self.stack[0].get(), self.stack[1].get()]
    }

    /// Ends the owner's use. Its counts stay.
    pub(crate) fn release(&self) {
        self.clear();
        self.set_stack([0, 0]);
        self.tid.store(0, Ordering::Relaxed);
        self.allocated.store((&raw const NO_ALLOCATION_COUNTER).cast_mut(), Ordering::Relaxed);
    }

    /// Owner only: its thread has another id in a forked process.
    pub(crate) fn set_owner(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
    }

    pub(crate) fn is_owned(&self) -> bool {
        self.tid.load(Ordering::Relaxed) != 0
    }

    /// The thread is in nothing.
    fn clear(&self) {
        self.forget_deep();
        self.set_depth(0);
        self.set_labels(0);
        self.set_weight(0);
        self.query_start.set(0);
        self.spans.leave_query();
    }

    #[inline(always)]
    pub(crate) fn depth(&self) -> u32 {
        self.depth.load(Ordering::Relaxed)
    }

    /// Owner only.
    #[inline(always)]
    pub(crate) fn set_depth(&self, depth: u32) {
        self.depth.store(depth, Ordering::Relaxed);
    }

    /// Owner only: puts a stage on the path, which is `depth` deep. A handler that interrupts sees the path with it or
    /// without it.
    #[inline(always)]
    pub(crate) fn push(&self, depth: u32, stage: u32) {
        if let Some(place) = self.path.get(depth as usize) {
            place.store(stage, Ordering::Relaxed);
        }
        compiler_fence(Ordering::Release);
        self.set_depth(depth + 1);
    }

    #[inline(always)]
    pub(crate) fn labels(&self) -> u32 {
        self.labels.load(Ordering::Relaxed)
    }

    /// Owner only.
    #[inline(always)]
    pub(crate) fn set_labels(&self, set: u32) {
        self.labels.store(set, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Owner only.
    #[inline(always)]
    pub(crate) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// The stage and the label set that the thread is in; 0 for none.
    #[inline]
    pub(crate) fn current(&self) -> (u32, u32) {
        let depth = self.depth() as usize;
        let stage =
            depth.checked_sub(1).map_or(0, |last| self.path[last.min(PATH - 1)].load(Ordering::Relaxed));
        (stage, self.labels())
    }

    /// Owner only, its signal handlers included: copies the numbers of the stages that it is in, outermost first, and
    /// says how many. If there are more than there is room for, the last one is the innermost.
    #[inline]
    pub(crate) fn copy_path(&self, path: &mut [u16]) -> usize {
        let depth = self.depth() as usize;
        for (place, stage) in path.iter_mut().zip(&self.path).take(depth) {
            *place = stage.load(Ordering::Relaxed) as u16;
        }
        let room = path.len();
        if let Some(last) = path.last_mut()
            && depth > room
        {
            *last = self.current().0 as u16;
        }
        depth.min(room)
    }

    /// Owner only: puts the thread into these stages alone, as the outer ones of a path that is `depth` deep. A handler that
    /// interrupts sees the thread in none of them or in all.
    pub(crate) fn set_path(&self, path: &[u16], depth: u32) {
        self.set_depth(0);
        compiler_fence(Ordering::Release);
        for (place, stage) in self.path.iter().zip(path) {
            place.store(u32::from(*stage), Ordering::Relaxed);
        }
        compiler_fence(Ordering::Release);
        self.set_depth(depth);
    }

    /// Owner only, its signal handlers included: see [`sampled`](super::thread::sampled).
    #[inline]
    pub(crate) fn sampled(&self, path: &mut [u16]) -> Sampled {
        let depth = self.copy_path(path);
        let labels = self.labels();
        // A trace begins and ends a moment outside of its query, whose labels a sample with a trace always has.
        let ids = self.spans.ids().filter(|_| labels != NO_LABELS);
        Sampled { depth, labels, trace: ids.map_or([0, 0], |ids| ids.trace) }
    }

    /// The owner's thread id, the stages that it is in, outermost first, its label set, and for how many nanoseconds its
    /// query has run, if that is timed. `None` if it is in no stage. Any thread: what the owner does meanwhile may show in
    /// part.
    pub(crate) fn activity(&self) -> Option<(u32, Vec<u32>, u32, Option<u64>)> {
        let tid = self.tid.load(Ordering::Relaxed);
        let depth = (self.depth() as usize).min(PATH);
        if tid == 0 || depth == 0 {
            return None;
        }
        let path = self.path[..depth].iter().map(|stage| stage.load(Ordering::Relaxed)).collect();
        let start = self.query_start.get();
        let since = (start != 0).then(|| self.to_ns(self.ticks().saturating_sub(start)));
        Some((tid, path, self.labels(), since))
    }

    /// Owner only: wyrand, good enough to be out of step with any workload.
    /// Source: W. Yi, <https://github.com/wangyi-fudan/wyhash>.
    #[inline(always)]
    pub(crate) fn next_random(&self) -> u64 {
        self.random.add(0xa076_1d64_78bd_642f);
        let state = self.random.get();
        let wide = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
        (wide as u64) ^ (wide >> 64) as u64
    }

    /// Owner only: the bytes that this thread has allocated so far.
    #[inline(always)]
    pub(crate) fn allocated(&self) -> u64 {
        // SAFETY: `adopt` set the pointer to the owner's own counter, which lives as long as the thread, or
        // to a static; only the owner calls this.
        unsafe { self.allocated.load(Ordering::Relaxed).read() }
    }

    #[inline(always)]
    pub(crate) fn ticks(&self) -> u64 {
        super::clock::ticks(self.tsc.load(Ordering::Relaxed) != 0)
    }

    #[inline(always)]
    pub(crate) fn to_ns(&self, ticks: u64) -> u64 {
        super::clock::to_ns(ticks, self.ns_per_tick.get())
    }

    /// Owner only: counts one finished call of a stage that was not timed.
    #[inline(always)]
    pub(crate) fn count_stage(&self, stage: u32, failed: bool) {
        let cells = &self.stages[stage as usize % MAX_STAGES];
        cells.untimed.add(1);
        if failed {
            cells.errors.add(1);
        }
    }

    /// Owner only: counts one finished call of a stage that was timed, and lies in no other one of
    /// the stage.
    #[inline(always)]
    pub(crate) fn record_stage(&self, stage: u32, failed: bool, allocated: u64, timing: Timing) {
        let cells = &self.stages[stage as usize % MAX_STAGES];
        if failed {
            cells.errors.add(1);
        }
        let Timing { ns, own_ns, weight } = timing;
        // As a rule all is timed, and nothing need be multiplied.
        let weighted = if weight == 1 {
            [ns, own_ns, allocated]
        } else {
            [ns, own_ns, allocated].map(|figure| figure.wrapping_mul(u64::from(weight)))
        };
        cells.total_ns.add(weighted[0]);
        cells.self_ns.add(weighted[1]);
        cells.allocated.add(weighted[2]);
        cells.durations.record(FINE, &self.lines, ns, weight);
    }

    /// Owner only: notes that a call ended in a panic.
    #[cold]
    pub(crate) fn record_panic(&self, stage: u32) {
        self.stages[stage as usize % MAX_STAGES].panics.add(1);
    }

    /// Owner only: what only async stages have. `awaiting_ns` is weighted already.
    #[inline]
    pub(crate) fn record_async(&self, stage: u32, polls: u64, awaiting_ns: u64, cancelled: bool) {
        let cells = &self.stages[stage as usize % MAX_STAGES];
        cells.polls.add(polls);
        cells.awaiting_ns.add(awaiting_ns);
        cells.cancelled.add(u64::from(cancelled));
    }

    /// Owner only: counts one finished query under its labels.
    #[inline(always)]
    pub(crate) fn record_query(&self, set: u32, query: Query) {
        let Some(cells) = self.label_cells(set) else { return };
        cells.calls.add(1);
        if query.failed {
            cells.errors.add(1);
        }
        cells.allocated.add(query.allocated);
        if query.rows != 0 {
            cells.rows.add(query.rows);
        }
        if let Some(Timing { ns, own_ns, weight }) = query.timing {
            cells.stages.add(query.stages.wrapping_mul(u64::from(weight)));
            cells.self_ns.add(own_ns.wrapping_mul(u64::from(weight)));
            if own_ns != ns {
                self.record_nested_queries(set, ns.wrapping_sub(own_ns).wrapping_mul(u64::from(weight)));
            }
            cells.durations.record(COARSE, &self.lines, ns, weight);
        }
    }

    /// Owner only: counts rows of a query with the labels that is under way on another thread.
    pub(crate) fn record_rows(&self, set: u32, rows: u64) {
        if let Some(cells) = self.label_cells(set) {
            cells.rows.add(rows);
        }
    }

    /// Owner only: the thread is in no query, so none is nested in one.
    pub(crate) fn forget_nested(&self) {
        self.nested_ns.set(0);
        self.nested_allocated.set(0);
        self.nested_entered.set(0);
    }

    /// Owner only: time of queries nested in one with the labels, which has cells.
    #[inline(never)]
    fn record_nested_queries(&self, set: u32, ns: u64) {
        let set = set as usize % MAX_SETS;
        let chunk = usize::from(self.label_chunks[set / SETS_PER_CHUNK].load(Ordering::Relaxed));
        if let Some(nested) = self.label_nested.get(chunk.wrapping_sub(1)) {
            nested[set % SETS_PER_CHUNK].add(ns);
        }
    }

    /// Owner only: an async query with the labels begins (1) or ends (-1).
    pub(crate) fn record_live(&self, set: u32, change: i64) {
        if let Some(cells) = self.label_cells(set) {
            cells.live.add(change as u64);
            self.live.add(change as u64);
        }
    }

    /// Owner only: where the figures of a label set stand. `None` (counted) if there is no room for them.
    #[inline(always)]
    fn label_cells(&self, set: u32) -> Option<&LabelCells> {
        let set = set as usize % MAX_SETS;
        let chunk = &self.label_chunks[set / SETS_PER_CHUNK];
        let chunk = match chunk.load(Ordering::Relaxed) {
            0 => self.grow_labels(chunk),
            chunk => chunk,
        };
        let chunk = self.label_cells.get(usize::from(chunk).wrapping_sub(1))?;
        Some(&chunk[set % SETS_PER_CHUNK])
    }

    /// First touch: takes a chunk and notes its number, which it gives. 0 if there is none.
    #[cold]
    #[inline(never)]
    fn grow_labels(&self, slot: &AtomicU16) -> u16 {
        if !reserve(size_of::<[LabelCells; SETS_PER_CHUNK]>()) {
            self.refused.label_room.add(1);
            return 0;
        }
        // There are as many chunks as slots.
        let chunk = self.label_chunks_used.load(Ordering::Relaxed) + 1;
        self.label_chunks_used.store(chunk, Ordering::Relaxed);
        slot.store(chunk as u16, Ordering::Relaxed);
        chunk as u16
    }

    /// Calls and queries whose figures found no room.
    pub(crate) fn refused_for_room(&self) -> u64 {
        self.lines.refused.get().wrapping_add(self.refused.label_room.get())
    }

    /// The owner's thread id, its innermost stage and its label set, if it is in a stage. Any thread.
    pub(crate) fn innermost(&self) -> Option<(u32, u32, u32)> {
        let tid = self.tid.load(Ordering::Relaxed);
        let (stage, labels) = self.current();
        (tid != 0 && stage != 0).then_some((tid, stage, labels))
    }

    /// Bytes of memory that this block uses of what it reserves, for `stages` registered ones.
    pub(crate) fn used_bytes(&self, stages: usize) -> usize {
        let head = std::mem::offset_of!(Block, spans) + self.spans.used_bytes();
        let labels = self.label_chunks_used.load(Ordering::Relaxed) as usize * SETS_PER_CHUNK;
        let labels = labels * size_of::<LabelCells>();
        head + (stages + 1) * size_of::<StageCells>() + labels + self.lines.used_bytes()
    }
}

/// Zeroed memory for a `T`, which asks for no more alignment than a page has. It is never given back.
#[cfg(all(unix, not(miri)))]
pub(crate) fn map_zeroed<T>() -> Option<*const T> {
    // SAFETY: a new private anonymous mapping at an address of the kernel's choice affects no other memory.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<T>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    (memory != libc::MAP_FAILED).then_some(memory as *const T)
}

#[cfg(not(all(unix, not(miri))))]
pub(crate) fn map_zeroed<T>() -> Option<*const T> {
    const { assert!(size_of::<T>() != 0) };
    let layout = std::alloc::Layout::new::<T>();
    // SAFETY: the type is not of size 0.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) };
    // Miri takes for leaked what no static leads to.
    #[cfg(miri)]
    {
        static KEPT: std::sync::Mutex<Vec<AtomicPtr<u8>>> = std::sync::Mutex::new(Vec::new());
        KEPT.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(AtomicPtr::new(memory));
    }
    (!memory.is_null()).then_some(memory as *const T)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(ns: u64) -> Timing {
        Timing { ns, own_ns: ns / 2, weight: 1 }
    }

    #[test]
    fn a_full_arena_counts_what_it_refuses() {
        const STAGES: u32 = if cfg!(miri) { 6 } else { MAX_STAGES as u32 };
        let block = Block::map().unwrap();
        let mut calls = 0;
        for stage in 0..STAGES {
            for exponent in 0..40 * 4 {
                let ns = (1_u64 << (exponent / 4 + 2)) + (exponent as u64 % 4) * (1 << (exponent / 4));
                block.record_stage(stage, false, 8, timing(ns));
                calls += 1;
            }
        }
        let (mut placed, mut timed) = (0, 0);
        for stage in 0..STAGES {
            let mut sum = StageFigures::default();
            block.read_stage(stage, &mut sum);
            placed += sum.cells.sum();
            timed += sum.timed;
        }
        let refused = block.refused_for_room();
        assert!(placed > 0 && refused > 0);
        assert_eq!((placed + refused, timed), (calls, calls));
    }

    #[test]
    fn every_label_set_has_words_of_its_own() {
        const SETS: usize = if cfg!(miri) { 8 } else { MAX_SETS };
        let block = Block::map().unwrap();
        for set in 0..SETS as u32 {
            for _ in 0..=set % 3 {
                let failed = set.is_multiple_of(2);
                let timing = Some(timing(u64::from(set) * 2));
                block.record_query(set, Query { failed, allocated: 8, stages: 5, rows: 2, timing });
            }
        }
        let mut sums = vec![LabelFigures::default(); SETS];
        block.read_labels(&mut sums);
        for (set, sum) in sums.iter_mut().enumerate() {
            let calls = set as u64 % 3 + 1;
            assert_eq!((sum.calls, sum.timed, sum.self_ns), (calls, calls, calls * set as u64));
            assert_eq!(sum.self_ns + sum.nested_ns, calls * 2 * set as u64);
            assert_eq!(sum.errors, if set.is_multiple_of(2) { calls } else { 0 });
            assert_eq!((sum.max_ns, sum.allocated), (set as u64 * 2, calls * 8));
            assert_eq!((sum.stages, sum.rows), (calls * 5, calls * 2));
            assert_eq!(*sum.cells.cell(COARSE.index(set as u64 * 2)), calls);
        }
    }

    #[test]
    fn what_is_longer_than_the_longest_cell_counts_in_it() {
        let block = Block::map().unwrap();
        let durations = [(1 << 43) - 1, 1 << 43, 1 << 50, u64::MAX / 2, u64::MAX / 2];
        for ns in durations {
            block.record_stage(5, false, 0, Timing { ns, own_ns: ns, weight: 1 });
            let timing = Some(Timing { ns, own_ns: 1, weight: 1 });
            block.record_query(5, Query { failed: false, allocated: 0, stages: 1, rows: 0, timing });
        }
        let mut stage = StageFigures::default();
        block.read_stage(5, &mut stage);
        assert_eq!((stage.timed, stage.max_ns), (5, u64::MAX / 2));
        assert_eq!(stage.cells.sum(), 5);
        let last = (FINE.all_cells() - 1, 5);
        assert_eq!(stage.cells.iter().last(), Some(last));
        // Sums wrap, as counters do, and a reader's differences are right all the same.
        let sum = durations.iter().fold(0_u64, |sum, ns| sum.wrapping_add(*ns));
        assert_eq!((stage.total_ns, stage.self_ns), (sum, sum));
        let mut labels = vec![LabelFigures::default(); 6];
        block.read_labels(&mut labels);
        let last = (COARSE.all_cells() - 1, 5);
        assert_eq!((labels[5].cells.iter().last(), labels[5].max_ns), (Some(last), u64::MAX / 2));
        assert_eq!((labels[5].calls, labels[5].self_ns), (5, 5));
        assert_eq!(block.refused_for_room(), 0);
        // A weight makes it no worse.
        block.record_stage(6, false, 0, Timing { ns: u64::MAX, own_ns: u64::MAX, weight: 1 << 16 });
        let mut weighted = StageFigures::default();
        block.read_stage(6, &mut weighted);
        let last = (FINE.all_cells() - 1, 1 << 16);
        assert_eq!((weighted.cells.iter().last(), weighted.max_ns), (Some(last), u64::MAX));
    }

    #[test]
    fn weights_make_one_timed_call_stand_for_many() {
        let block = Block::map().unwrap();
        block.record_stage(3, false, 7, Timing { ns: 100, own_ns: 60, weight: 16 });
        block.count_stage(3, true);
        let mut sum = StageFigures::default();
        block.read_stage(3, &mut sum);
        assert_eq!((sum.total_ns, sum.self_ns, sum.timed, sum.untimed), (1600, 960, 1, 1));
        assert_eq!((sum.cells.sum(), sum.errors, sum.allocated), (16, 1, 7 * 16));
    }
}
