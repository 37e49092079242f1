//! A slab: the words of all metrics, as one thread has added to them.
//!
//! # Why this is sound
//! Every word is an atomic, read and written relaxed, and all-zero is a valid, empty slab. A slab has one writer, the
//! thread that holds it (`slabs`), which adds by a load and a store; only [`SHARED`] has many, which add by locked
//! instructions. Words never move and slabs are never freed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::record::octaves::FINE;

/// Words for metrics, 512 KiB: 3,600 distributions or 65,000 counters.
/// Miri looks at each whenever a reference to a slab is passed on, so it gets few.
pub(super) const WORDS: usize = if cfg!(miri) { 1 << 12 } else { 1 << 16 };

/// Chunks of [`CELLS`] words for the octaves of distributions, 1 MiB.
const CHUNKS: usize = if cfg!(miri) { 1 << 7 } else { 1 << 12 };

/// Words of a cache line.
pub(super) const LINE_WORDS: usize = 8;

/// Cells an octave: the scale of stages.
pub(super) const CELLS: usize = FINE.cells();

/// Octaves that hold all of u64: one more for each doubling, after the first.
pub(super) const OCTAVES: usize = 64 - CELLS.trailing_zeros() as usize + 1;

/// The words of a distribution: sum, maximum, values without a cell, and then four octaves a word, each as the number of
/// its chunk, 0 for none yet.
pub(super) const HEADER_WORDS: usize = FIRST_OCTAVE as usize + OCTAVES.div_ceil(OCTAVES_PER_WORD);
pub(super) const SUM: u32 = 0;
pub(super) const MAX: u32 = 1;
pub(super) const UNPLACED: u32 = 2;
const FIRST_OCTAVE: u32 = 3;
const OCTAVES_PER_WORD: usize = 4;
const OCTAVE_BITS: usize = 16;

const _: () = assert!(CHUNKS < 1 << OCTAVE_BITS && HEADER_WORDS == 18);

/// The first words count what was refused, by cause.
pub(crate) const LABEL_CAP: u32 = 1;
pub(crate) const LABEL_LENGTH: u32 = 2;
pub(super) const LABEL_COUNT: u32 = 3;
pub(super) const CELLS_FULL: u32 = 4;
#[cfg(feature = "metrics")]
pub(crate) const NOT_FINITE: u32 = 5;

/// What metrics write to that have no place. Nobody reads it.
pub(crate) const NOWHERE: u32 = 8;

/// Where the first metric's words start.
pub(super) const FIRST_METRIC: u32 = 32;

const _: () = assert!(NOWHERE as usize + HEADER_WORDS <= FIRST_METRIC as usize);

/// See the module's documentation.
#[repr(C, align(64))]
pub(crate) struct Slab {
    words: [AtomicU64; WORDS],
    chunks: [[AtomicU64; CELLS]; CHUNKS],
    chunks_used: AtomicU32,
}

/// The slab of all gauges, and of threads that have none of their own. Untouched, it costs nothing.
pub(crate) static SHARED: Slab = Slab {
    words: [const { AtomicU64::new(0) }; WORDS],
    chunks: [const { [const { AtomicU64::new(0) }; CELLS] }; CHUNKS],
    chunks_used: AtomicU32::new(0),
};

impl Slab {
    #[inline(always)]
    pub(super) fn word(&self, word: u32) -> &AtomicU64 {
        &self.words[word as usize % WORDS]
    }

    #[inline(always)]
    pub(super) fn get(&self, word: u32) -> u64 {
        self.word(word).load(Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, word: u32, value: u64) {
        self.word(word).store(value, Relaxed);
    }

    #[inline(always)]
    fn octave(&self, header: u32, octave: usize) -> (&AtomicU64, usize) {
        let word = header + FIRST_OCTAVE + (octave / OCTAVES_PER_WORD) as u32;
        (self.word(word), octave % OCTAVES_PER_WORD * OCTAVE_BITS)
    }

    /// The cells of an octave, if any of its values came.
    #[inline(always)]
    pub(super) fn cells(&self, header: u32, octave: usize) -> Option<&[AtomicU64; CELLS]> {
        let (word, shift) = self.octave(header, octave);
        self.chunk((word.load(Relaxed) >> shift) as u16)
    }

    #[inline(always)]
    fn chunk(&self, number: u16) -> Option<&[AtomicU64; CELLS]> {
        self.chunks.get(usize::from(number).checked_sub(1)?)
    }

    /// First touch: a chunk for an octave, or `None` if all are used.
    #[cold]
    #[inline(never)]
    pub(super) fn grow(&self, header: u32, octave: usize) -> Option<&[AtomicU64; CELLS]> {
        let one_more = |used| (used < CHUNKS as u32).then_some(used + 1);
        let number = self.chunks_used.fetch_update(Relaxed, Relaxed, one_more).ok()? + 1;
        let (word, shift) = self.octave(header, octave);
        // In the shared slab another thread may have been faster; then our chunk stays unused.
        let still_none =
            |word: u64| ((word >> shift) as u16 == 0).then_some(word | u64::from(number) << shift);
        match word.fetch_update(Relaxed, Relaxed, still_none) {
            Ok(_) => self.chunk(number as u16),
            Err(word) => self.chunk((word >> shift) as u16),
        }
    }

    /// Bytes in use when `words` of the words are given away.
    pub(super) fn used_bytes(&self, words: usize) -> usize {
        let chunks = self.chunks_used.load(Relaxed) as usize;
        words * size_of::<u64>() + chunks * CELLS * size_of::<u64>()
    }
}
