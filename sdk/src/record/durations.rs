//! A latency histogram with one writer: how the durations of one stage, or of one label set, lie.
//!
//! The cell that a duration belongs to is known some twenty cycles after the clock was read, and to count it there at once
//! would add nearly all of them to the call: on the reference machine that made a full stage 1.5 times the pair of clock
//! reads. So a duration waits in `pending` until the next one comes, which counts it with nothing to wait for, and all of it
//! disappears behind the clock: 1.05 times. A reader counts the pending one itself.
//!
//! # Why a reader counts each exactly once
//! The owner publishes in this order: the new duration with its number, the old one's count, the number. While number and
//! pending agree, what is pending is counted nowhere else. A reader takes the pending duration at such a moment and reads all
//! counts but that which the duration belongs to. That one it reads at another such moment: if the number still is the same,
//! the pending duration comes on top; if not, it has been counted meanwhile. So what one reader saw a later one sees too.

use std::sync::atomic::{AtomicU8, AtomicU16, Ordering, fence};

use super::cells::Cell64;
use super::counts::Counts;
use super::lines::{LINE, Lines};
use super::octaves::{LARGEST, LARGEST_POWER, Scale};

/// Bits of a pending duration: the duration itself, the exponent of its weight, and the last bits of its number.
const WEIGHT_SHIFT: u32 = LARGEST_POWER;
const WEIGHT_MASK: u64 = (1 << (NUMBER_SHIFT - WEIGHT_SHIFT)) - 1;
const NUMBER_SHIFT: u32 = 48;

/// A histogram of so many lines.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Durations<const SLOTS: usize> {
    /// Those that were recorded.
    timed: Cell64,
    /// The last one, which is in no cell yet.
    pending: Cell64,
    max_ns: Cell64,
    slots: [AtomicU16; SLOTS],
    /// The first and the last slot that names a line, each plus 1; 0 while none does.
    first: AtomicU8,
    last: AtomicU8,
}

const _: () = assert!(slots(super::octaves::FINE) < u8::MAX as usize);

/// How often a reader looks again. An owner that was interrupted between two stores would have it wait: then one duration
/// counts twice or not at all until the next look.
const PATIENCE: usize = 1_000;

/// Lines that the cells of a scale fill.
pub(crate) const fn slots(scale: Scale) -> usize {
    scale.all_cells().div_ceil(LINE)
}

impl<const SLOTS: usize> Durations<SLOTS> {
    /// Owner only: counts one that stands for `weight`, a power of two.
    #[inline(always)]
    pub(crate) fn record(&self, scale: Scale, lines: &Lines, ns: u64, weight: u32) {
        let timed = self.timed.get();
        let before = self.pending.get();
        let number = timed.wrapping_add(1);
        let weight = u64::from(weight.trailing_zeros());
        self.pending.set(ns.min(LARGEST) | weight << WEIGHT_SHIFT | number << NUMBER_SHIFT);
        // To be seen before the count is. On x86_64 no instruction.
        fence(Ordering::Release);
        if timed != 0 {
            let (index, weight) = unpack(scale, before);
            if let Some(slot) = self.slots.get(index / LINE)
                && lines.add(slot, index, weight)
            {
                self.took(index / LINE);
            }
        }
        self.timed.publish(number);
        self.max_ns.raise_to(ns);
    }

    /// Owner only, before the number is published: a slot names a line since now.
    #[cold]
    #[inline(never)]
    fn took(&self, slot: usize) {
        let (slot, first) = (slot as u8 + 1, self.first.load(Ordering::Relaxed));
        self.first.store(if first == 0 { slot } else { first.min(slot) }, Ordering::Relaxed);
        self.last.store(self.last.load(Ordering::Relaxed).max(slot), Ordering::Relaxed);
    }

    /// The slots that name lines, each with its place among all.
    #[inline]
    fn taken(&self) -> impl Iterator<Item = (usize, &AtomicU16)> {
        let (first, last) = (self.first.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed));
        let (first, last) = (usize::from(first.max(1)) - 1, usize::from(last));
        let slots = self.slots.get(first..last).unwrap_or_default();
        (first..).zip(slots).filter(|(_, slot)| Lines::is_taken(slot))
    }

    /// Those that were recorded. Any thread.
    #[inline]
    pub(crate) fn timed(&self) -> u64 {
        self.timed.get()
    }

    pub(crate) fn max_ns(&self) -> u64 {
        self.max_ns.get()
    }

    /// Adds the weighted counts to `sum`. Any thread.
    pub(crate) fn read(&self, scale: Scale, lines: &Lines, sum: &mut Counts) {
        let (timed, pending) = self.stable();
        if timed == 0 {
            return;
        }
        let (last, weight) = unpack(scale, pending);
        // What most histograms need.
        sum.expect((SLOTS / 12).max(3));
        let mut from = 0;
        for (number, slot) in self.taken() {
            let sum = sum.line(number, &mut from);
            let before = sum[last % LINE];
            lines.add_to(slot, sum);
            if number == last / LINE {
                sum[last % LINE] = before;
            }
        }
        let (timed_since, mut count) = self.steady(|| {
            let counts = self.slots.get(last / LINE).and_then(|slot| lines.read(slot));
            counts.map_or(0, |counts| counts[last % LINE])
        });
        if timed_since == timed {
            count += u64::from(weight);
        }
        let sum = sum.cell(last);
        *sum = sum.wrapping_add(count);
    }

    /// Has the counts brought to a reader that is about to want them.
    #[inline]
    pub(crate) fn prefetch(&self, lines: &Lines) {
        if self.timed() != 0 {
            self.taken().for_each(|(_, slot)| lines.prefetch(slot));
        }
    }

    /// What `look` gives while nothing is recorded, and the number then.
    fn steady(&self, look: impl Fn() -> u64) -> (u64, u64) {
        let mut seen = (0, 0);
        for _ in 0..PATIENCE {
            let (timed, _) = self.stable();
            seen = (timed, look());
            fence(Ordering::Acquire);
            if self.stable().0 == timed {
                break;
            }
        }
        seen
    }

    /// Number and pending duration at a moment when they agree.
    fn stable(&self) -> (u64, u64) {
        let mut seen = (0, 0);
        for _ in 0..PATIENCE {
            let timed = self.timed.seen();
            seen = (timed, self.pending.seen());
            if seen.1 >> NUMBER_SHIFT == timed & (u64::MAX >> NUMBER_SHIFT) {
                break;
            }
            std::hint::spin_loop();
        }
        seen
    }
}

/// The cell and the weight of a pending duration.
#[inline(always)]
fn unpack(scale: Scale, pending: u64) -> (usize, u32) {
    (scale.index(pending & LARGEST), 1 << (pending >> WEIGHT_SHIFT & WEIGHT_MASK))
}
