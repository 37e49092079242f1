//! The memory of histograms: lines of sixteen 32-bit counts, taken from a thread's arena as values first need them.
//!
//! A line is a cache line, so a value far from the others, such as a call that was interrupted, costs 64 bytes. A count that
//! passes 2^32 carries into a small table beside the arena, so that counts are 64 bits wide to whoever reads them.
//!
//! # Why this is sound
//! As in a block: one writer, all words atomic, zeroed memory is an empty arena. A carry changes two words; `carrying` is odd
//! while it does, and a reader that meets that looks again.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::cells::{Cell32, Cell64};

/// Counts of a line.
pub(crate) const LINE: usize = 16;

/// Lines of a thread, 2 MiB, and no more than a number of 16 bits can tell apart. Miri looks at each word of a block whenever
/// a reference to it is passed on, so it gets a small one.
const LINES: usize = if cfg!(miri) { 256 } else { 1 << 15 };
const _: () = assert!(LINES <= 1 << 16);

/// Counts of a thread that can have passed 2^32.
const CARRIES: usize = 64;

/// Bytes that all threads' histograms and label figures may take together, 20 MiB: what Stagelight's memory is bounded by,
/// however many threads there are.
const ALL_BYTES: usize = 20 << 20;
static ALL_USED: AtomicUsize = AtomicUsize::new(0);

/// Takes so many bytes of what all threads share. `false` if there are not so many.
pub(crate) fn reserve(bytes: usize) -> bool {
    // Once all is used, threads that find no room don't write to what they share.
    if ALL_USED.load(Ordering::Relaxed) + bytes > ALL_BYTES {
        return false;
    }
    if ALL_USED.fetch_add(bytes, Ordering::Relaxed) + bytes > ALL_BYTES {
        ALL_USED.fetch_sub(bytes, Ordering::Relaxed);
        return false;
    }
    true
}

/// What a count carried: where it stands (0 for nowhere), and how often it passed 2^32.
#[derive(Debug)]
struct Carry {
    place: Cell64,
    times: Cell64,
}

/// One thread's lines.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Lines {
    used: AtomicU32,
    /// Odd while a carry is on its way; 0 until there was one.
    carrying: AtomicU64,
    /// Counts that found no room.
    pub(crate) refused: Cell64,
    carries: [Carry; CARRIES],
    lines: [Line; LINES],
}

#[repr(C, align(64))]
#[derive(Debug)]
struct Line([Cell32; LINE]);

impl Lines {
    /// Owner only: adds `n` to the `index`-th count of the line that `slot` names, or will. Whether
    /// it names one since now.
    #[inline(always)]
    pub(crate) fn add(&self, slot: &AtomicU16, index: usize, n: u32) -> bool {
        let mut is_new = false;
        let line = match slot.load(Ordering::Relaxed) {
            0 => match self.grow(slot) {
                0 => {
                    self.refused.add(1);
                    return false;
                }
                line => {
                    is_new = true;
                    line
                }
            },
            line => line,
        };
        let line = usize::from(line) % LINES;
        let count = &self.lines[line].0[index % LINE];
        let (sum, carried) = count.get().overflowing_add(n);
        if carried {
            self.carry(line * LINE + index % LINE, count, sum);
        } else {
            count.set(sum);
        }
        is_new
    }

    /// First touch: takes a line and notes it in the slot. 0 if there is none.
    #[cold]
    #[inline(never)]
    fn grow(&self, slot: &AtomicU16) -> u16 {
        // The first line stays unused, so that 0 can mean "none".
        let line = self.used.load(Ordering::Relaxed).max(1);
        if line as usize >= LINES || !reserve(size_of::<Line>()) {
            return 0;
        }
        self.used.store(line + 1, Ordering::Relaxed);
        slot.store(line as u16, Ordering::Relaxed);
        line as u16
    }

    /// Puts what a count has come to past 2^32. Where the table is full the count stays as high as it can be.
    #[cold]
    #[inline(never)]
    fn carry(&self, place: usize, count: &Cell32, sum: u32) {
        let place = place as u64;
        let Some(carry) = self.carries.iter().find(|carry| [0, place].contains(&carry.place.get())) else {
            return self.refused.add(1);
        };
        let turn = self.carrying.load(Ordering::Relaxed);
        self.carrying.store(turn + 1, Ordering::Relaxed);
        std::sync::atomic::fence(Ordering::Release);
        carry.place.set(place);
        carry.times.add(1);
        count.set(sum);
        self.carrying.store(turn + 2, Ordering::Release);
    }

    /// The counts of the line that the slot names; `None` if it names none yet. Any thread.
    pub(crate) fn read(&self, slot: &AtomicU16) -> Option<[u64; LINE]> {
        let line = usize::from(slot.load(Ordering::Relaxed)) % LINES;
        if line == 0 {
            return None;
        }
        // An owner that was interrupted amid a carry would have us wait: then some past state must do.
        const PATIENCE: usize = 1_000;
        let mut counts = [0; LINE];
        for _ in 0..PATIENCE {
            let turn = self.carrying.load(Ordering::Acquire);
            counts = std::array::from_fn(|index| u64::from(self.lines[line].0[index].get()));
            if turn == 0 {
                break;
            }
            for carry in &self.carries {
                let place = carry.place.get() as usize;
                if place / LINE == line {
                    counts[place % LINE] += carry.times.get() << 32;
                }
            }
            std::sync::atomic::fence(Ordering::Acquire);
            if turn.is_multiple_of(2) && self.carrying.load(Ordering::Relaxed) == turn {
                break;
            }
            std::hint::spin_loop();
        }
        Some(counts)
    }

    /// Whether the slot names a line.
    #[inline]
    pub(crate) fn is_taken(slot: &AtomicU16) -> bool {
        slot.load(Ordering::Relaxed) != 0
    }

    /// Adds the counts of the line that the slot names, if it does. Any thread.
    #[inline]
    pub(crate) fn add_to(&self, slot: &AtomicU16, sum: &mut [u64; LINE]) {
        if self.carrying.load(Ordering::Acquire) == 0 {
            // The first line has no counts.
            let line = &self.lines[usize::from(slot.load(Ordering::Relaxed)) % LINES];
            let counts: [u32; LINE] = std::array::from_fn(|index| line.0[index].get());
            // Unless one was carried meanwhile.
            std::sync::atomic::fence(Ordering::Acquire);
            if self.carrying.load(Ordering::Relaxed) == 0 {
                for (sum, count) in sum.iter_mut().zip(counts) {
                    *sum = sum.wrapping_add(u64::from(count));
                }
                return;
            }
        }
        for (sum, count) in sum.iter_mut().zip(self.read(slot).unwrap_or_default()) {
            *sum = sum.wrapping_add(count);
        }
    }

    /// Has the line that the slot names brought to the reader, which is about to want it.
    #[inline]
    pub(crate) fn prefetch(&self, slot: &AtomicU16) {
        let line = usize::from(slot.load(Ordering::Relaxed)) % LINES;
        if line != 0 {
            prefetch(&raw const self.lines[line]);
        }
    }

    /// Bytes that were taken.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed) as usize * size_of::<Line>()
    }
}

/// Has memory brought to the core. A reader of all threads' blocks waits for hardly anything else.
#[inline]
pub(crate) fn prefetch<T>(place: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::block::map_zeroed;

    fn lines() -> &'static Lines {
        // SAFETY: all-zero is an empty arena, and the memory is never given back.
        unsafe { &*map_zeroed::<Lines>().unwrap() }
    }

    #[test]
    fn counts_pass_2_to_the_32() {
        let (lines, slot) = (lines(), AtomicU16::new(0));
        assert_eq!(lines.read(&slot), None);
        for _ in 0..5 {
            lines.add(&slot, 3, u32::MAX);
            lines.add(&slot, 4, 1 << 31);
        }
        let mut expected = [0; LINE];
        (expected[3], expected[4]) = (5 * u64::from(u32::MAX), 5 << 31);
        assert_eq!((lines.read(&slot), lines.refused.get()), (Some(expected), 0));
    }

    #[test]
    fn a_count_that_can_carry_no_more_stays_and_is_refused() {
        let (lines, slots) = (lines(), [const { AtomicU16::new(0) }; CARRIES / LINE + 1]);
        for index in 0..=CARRIES {
            lines.add(&slots[index / LINE], index, u32::MAX);
            lines.add(&slots[index / LINE], index, 2);
        }
        let sum: u64 = slots.iter().filter_map(|slot| lines.read(slot)).flatten().sum();
        assert_eq!(sum, CARRIES as u64 * (u64::from(u32::MAX) + 2) + u64::from(u32::MAX));
        assert_eq!(lines.refused.get(), 1);
    }

    #[test]
    fn a_full_arena_refuses() {
        let lines = lines();
        let slots: Vec<_> = (0..LINES + 10).map(|_| AtomicU16::new(0)).collect();
        slots.iter().for_each(|slot| assert!(lines.add(slot, 0, 1) == Lines::is_taken(slot)));
        let counted = slots.iter().filter(|slot| lines.read(slot).is_some()).count();
        assert!(counted < LINES && counted > 0);
        assert_eq!(counted as u64 + lines.refused.get(), slots.len() as u64);
        ALL_USED.fetch_sub(counted * size_of::<Line>(), Ordering::Relaxed);
    }
}
