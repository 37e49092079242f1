//! A thread's block: all that the record path writes, in one piece of zeroed memory.
//!
//! # Why this is sound
//! 1. A block has one writer at a time, the thread that holds it (`thread`); all others only read.
//! 2. Every word is an atomic that is read and written relaxed, so readers see past values, never torn ones.
//! 3. All-zero bytes are a valid, empty block. The memory is mapped, so pages that no stage touched cost
//!    nothing: a block reserves a megabyte and a half and uses a few KiB.
//! 4. Blocks are never freed. A block that a thread left is taken by the next thread and goes on counting
//!    from where it stood: counts only grow, and readers take differences.

use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::cells::Cell64;
use super::clock::Clock;
use super::labels::{CACHE_ENTRIES, CacheEntry, MAX_SETS};
use super::octaves::{self, CELLS, OCTAVES};
use super::stage::MAX_STAGES;

/// Label sets a chunk of the arena holds the counters of.
const SETS_PER_CHUNK: usize = 64;
const LABEL_CHUNKS: usize = MAX_SETS / SETS_PER_CHUNK;
const CHUNK_WORDS: usize = SETS_PER_CHUNK * LABEL_WORDS;

/// Words of the arena, 1.25 MiB: all label sets and four octaves for each of 1,024 stages.
const ARENA_WORDS: usize = LABEL_CHUNKS * CHUNK_WORDS + MAX_STAGES * 4 * CELLS + CELLS;

const _: () = assert!(MAX_STAGES.is_power_of_two() && MAX_SETS.is_multiple_of(SETS_PER_CHUNK));
const _: () = assert!(ARENA_WORDS < u32::MAX as usize);
const _: () = assert!(size_of::<StageCells>() == 256, "a stage's cells fill four cache lines");

/// What one thread recorded of one stage.
#[repr(C, align(64))]
struct StageCells {
    total_ns: Cell64,
    self_ns: Cell64,
    max_ns: Cell64,
    allocated: Cell64,
    errors: Cell64,
    /// Calls that found the arena full: counted, but in no histogram.
    unplaced: Cell64,
    /// Where in the arena each octave's cells start; 0 for none yet.
    octaves: [AtomicU32; OCTAVES],
}

/// What one thread recorded of one label set: these words, in this order, in the arena.
const LABEL_WORDS: usize = 5;
const LABEL_CALLS: usize = 0;
const LABEL_ERRORS: usize = 1;
const LABEL_TOTAL_NS: usize = 2;
const LABEL_MAX_NS: usize = 3;
const LABEL_ALLOCATED: usize = 4;

/// What a thread had to refuse, by cause.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Label values that were cut to the longest length.
    pub(crate) label_length: Cell64,
    /// Queries that run under `other` because a cap on label values or sets is reached.
    pub(crate) label_cap: Cell64,
    /// Calls and queries whose figures found no room in the arena.
    pub(crate) arena_full: Cell64,
}

/// See the module's documentation.
#[repr(C, align(64))]
pub(crate) struct Block {
    /// What the thread is in at this instant: stage number in the upper half, label set in the lower. This
    /// is the word that the samplers read.
    current: AtomicU64,
    /// Time of the finished children of the stage that is running.
    pub(crate) child_ns: Cell64,
    /// Time of the finished queries within the query that is running, and bytes allocated in them.
    pub(crate) nested_ns: Cell64,
    pub(crate) nested_allocated: Cell64,
    /// The thread's count of allocated bytes, kept by the allocator; points to a constant 0 where none does.
    allocated: AtomicPtr<u64>,
    ns_per_tick: Cell64,
    tsc: AtomicU32,
    /// The owner's thread id, 0 while the block is free.
    tid: AtomicU32,
    arena_used: AtomicU32,
    pub(crate) refused: Refused,
    pub(crate) label_cache: [CacheEntry; CACHE_ENTRIES],
    label_chunks: [AtomicU32; LABEL_CHUNKS],
    stages: [StageCells; MAX_STAGES],
    arena: [Cell64; ARENA_WORDS],
}

/// Figures of one stage, of one thread or summed over threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageFigures {
    pub(crate) total_ns: u64,
    pub(crate) self_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) allocated: u64,
    pub(crate) errors: u64,
    pub(crate) unplaced: u64,
    /// `OCTAVES * CELLS` counts, or none at all.
    pub(crate) cells: Vec<u64>,
}

/// Figures of one label set, of one thread or summed over threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LabelFigures {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) total_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) allocated: u64,
}

/// One finished call.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) ns: u64,
    pub(crate) allocated: u64,
    pub(crate) failed: bool,
}

static NO_ALLOCATION_COUNTER: u64 = 0;

impl Block {
    /// A new, empty block that lives for ever, or `None` if there is no memory.
    pub(crate) fn map() -> Option<&'static Block> {
        let memory = map_zeroed()?;
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
        self.nested_ns.set(0);
        self.nested_allocated.set(0);
        self.set_current(0);
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// Ends the owner's use. Its counts stay.
    pub(crate) fn release(&self) {
        self.set_current(0);
        self.tid.store(0, Ordering::Relaxed);
        self.allocated.store((&raw const NO_ALLOCATION_COUNTER).cast_mut(), Ordering::Relaxed);
    }

    pub(crate) fn is_owned(&self) -> bool {
        self.tid.load(Ordering::Relaxed) != 0
    }

    #[inline(always)]
    pub(crate) fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    /// Owner only.
    #[inline(always)]
    pub(crate) fn set_current(&self, word: u64) {
        self.current.store(word, Ordering::Relaxed);
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

    /// Owner only: counts one finished call of a stage.
    #[inline(always)]
    pub(crate) fn record_stage(&self, stage: u32, call: Call, self_ns: u64) {
        let cells = &self.stages[stage as usize % MAX_STAGES];
        cells.total_ns.add(call.ns);
        cells.self_ns.add(self_ns);
        cells.allocated.add(call.allocated);
        cells.max_ns.raise_to(call.ns);
        if call.failed {
            cells.errors.add(1);
        }
        let (octave, cell) = octaves::place(call.ns);
        let start = match cells.octaves[octave].load(Ordering::Relaxed) {
            0 => self.grow(&cells.octaves[octave], CELLS),
            start => start,
        };
        match self.arena.get(start as usize + cell) {
            Some(count) if start != 0 => count.add(1),
            _ => self.unplaced(cells),
        }
    }

    #[cold]
    #[inline(never)]
    fn unplaced(&self, cells: &StageCells) {
        cells.unplaced.add(1);
        self.refused.arena_full.add(1);
    }

    /// Owner only: counts one finished query under its labels, `own` being its call without those of the queries
    /// within it.
    #[inline(always)]
    pub(crate) fn record_labels(&self, set: u32, call: Call, own: Call) {
        let Some(words) = self.label_words(set) else {
            self.refused.arena_full.add(1);
            return;
        };
        words[LABEL_CALLS].add(1);
        words[LABEL_ERRORS].add(u64::from(call.failed));
        words[LABEL_TOTAL_NS].add(own.ns);
        words[LABEL_MAX_NS].raise_to(call.ns);
        words[LABEL_ALLOCATED].add(own.allocated);
    }

    #[inline(always)]
    fn label_words(&self, set: u32) -> Option<&[Cell64]> {
        let set = set as usize % MAX_SETS;
        let chunk = &self.label_chunks[set / SETS_PER_CHUNK];
        let start = match chunk.load(Ordering::Relaxed) {
            0 => self.grow(chunk, CHUNK_WORDS),
            start => start,
        };
        (start != 0).then_some(())?;
        let start = start as usize + set % SETS_PER_CHUNK * LABEL_WORDS;
        self.arena.get(start..start + LABEL_WORDS)
    }

    /// First touch: takes zeroed words from the arena and notes in `slot` where they start. 0 if it is full.
    #[cold]
    #[inline(never)]
    fn grow(&self, slot: &AtomicU32, words: usize) -> u32 {
        // The first words stay unused, so that 0 can mean "none".
        let start = self.arena_used.load(Ordering::Relaxed).max(CELLS as u32);
        let end = start + words as u32;
        if end as usize > ARENA_WORDS {
            return 0;
        }
        self.arena_used.store(end, Ordering::Relaxed);
        slot.store(start, Ordering::Relaxed);
        start
    }

    /// Adds this thread's figures of a stage to `sum`. Any thread.
    pub(crate) fn read_stage(&self, stage: u32, sum: &mut StageFigures) {
        let cells = &self.stages[stage as usize % MAX_STAGES];
        for (octave, start) in cells.octaves.iter().enumerate() {
            let start = start.load(Ordering::Relaxed) as usize;
            let Some(counts) = self.arena.get(start..start + CELLS).filter(|_| start != 0) else {
                continue;
            };
            sum.cells.resize(OCTAVES * CELLS, 0);
            for (sum, count) in sum.cells[octave * CELLS..].iter_mut().zip(counts) {
                *sum = sum.wrapping_add(count.get());
            }
        }
        sum.total_ns = sum.total_ns.wrapping_add(cells.total_ns.get());
        sum.self_ns = sum.self_ns.wrapping_add(cells.self_ns.get());
        sum.max_ns = sum.max_ns.max(cells.max_ns.get());
        sum.allocated = sum.allocated.wrapping_add(cells.allocated.get());
        sum.errors = sum.errors.wrapping_add(cells.errors.get());
        sum.unplaced = sum.unplaced.wrapping_add(cells.unplaced.get());
    }

    /// Adds this thread's figures of the label sets below `sums.len()`. Any thread.
    pub(crate) fn read_labels(&self, sums: &mut [LabelFigures]) {
        for (sums, start) in sums.chunks_mut(SETS_PER_CHUNK).zip(&self.label_chunks) {
            let start = start.load(Ordering::Relaxed) as usize;
            if start == 0 {
                continue;
            }
            let words = self.arena[start..].chunks(LABEL_WORDS);
            for (sum, words) in sums.iter_mut().zip(words) {
                sum.calls = sum.calls.wrapping_add(words[LABEL_CALLS].get());
                sum.errors = sum.errors.wrapping_add(words[LABEL_ERRORS].get());
                sum.total_ns = sum.total_ns.wrapping_add(words[LABEL_TOTAL_NS].get());
                sum.max_ns = sum.max_ns.max(words[LABEL_MAX_NS].get());
                sum.allocated = sum.allocated.wrapping_add(words[LABEL_ALLOCATED].get());
            }
        }
    }

    /// Bytes of memory that this block uses of what it reserves, for `stages` registered ones.
    pub(crate) fn used_bytes(&self, stages: usize) -> usize {
        let head = std::mem::offset_of!(Block, stages);
        let arena = self.arena_used.load(Ordering::Relaxed) as usize * size_of::<Cell64>();
        head + (stages + 1) * size_of::<StageCells>() + arena
    }
}

#[cfg(all(unix, not(miri)))]
fn map_zeroed() -> Option<*const Block> {
    // SAFETY: a new private anonymous mapping at an address of the kernel's choice affects no other memory.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<Block>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    (memory != libc::MAP_FAILED).then_some(memory as *const Block)
}

#[cfg(not(all(unix, not(miri))))]
fn map_zeroed() -> Option<*const Block> {
    let layout = std::alloc::Layout::new::<Block>();
    // SAFETY: a block is not of size 0.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) };
    (!memory.is_null()).then_some(memory as *const Block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ns: u64) -> Call {
        Call { ns, allocated: 8, failed: ns.is_multiple_of(2) }
    }

    #[test]
    fn a_full_arena_counts_what_it_refuses() {
        let block = Block::map().unwrap();
        let mut calls = 0;
        for stage in 0..MAX_STAGES as u32 {
            for octave in 0..OCTAVES as u32 {
                block.record_stage(stage, call(1 << octave), 1);
                calls += 1;
            }
        }
        let (mut placed, mut unplaced) = (0, 0);
        for stage in 0..MAX_STAGES as u32 {
            let mut sum = StageFigures::default();
            block.read_stage(stage, &mut sum);
            placed += sum.cells.iter().sum::<u64>();
            unplaced += sum.unplaced;
        }
        assert!(placed > 0 && unplaced > 0);
        assert_eq!(placed + unplaced, calls);
        assert_eq!(block.refused.arena_full.get(), unplaced);
    }

    #[test]
    fn every_label_set_has_words_of_its_own() {
        let block = Block::map().unwrap();
        for set in 0..MAX_SETS as u32 {
            for _ in 0..=set % 3 {
                block.record_labels(set, call(u64::from(set)), call(u64::from(set)));
            }
        }
        let mut sums = vec![LabelFigures::default(); MAX_SETS];
        block.read_labels(&mut sums);
        for (set, sum) in sums.iter().enumerate() {
            let calls = set as u64 % 3 + 1;
            assert_eq!(sum.calls, calls);
            assert_eq!(sum.total_ns, calls * set as u64);
            assert_eq!(sum.errors, if set.is_multiple_of(2) { calls } else { 0 });
            assert_eq!((sum.max_ns, sum.allocated), (set as u64, calls * 8));
        }
    }
}
