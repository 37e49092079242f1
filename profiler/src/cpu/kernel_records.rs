//! What the kernel writes to the ring of an event whose samples are call chains: records, one after another.
//! Source: perf_event_open(2), "MMAP layout", and `enum perf_event_type` in Linux's uapi/linux/perf_event.h.

use std::sync::atomic::{AtomicU64, Ordering};

use perf_event_open_sys::bindings;

use crate::symbolize::KERNEL_CODE;

/// Functions of the kernel that a sample holds. The kernel's stack has 16 KiB, in which more is rare; the outermost are left
/// out then.
pub const MOST: usize = 64;

/// A sample's functions of the kernel, innermost first: addresses to look up, as those of a walk.
pub struct Chain {
    frames: [u64; MOST],
    depth: usize,
}

/// How much was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Records of samples.
    pub samples: u64,
    /// Records that the kernel had no room for.
    pub lost: u64,
}

/// A header, and the number of addresses after it.
const SAMPLE_BYTES: u64 = 16;

/// A header, the event's number, and how many were lost.
const LOST_BYTES: u64 = 24;

impl Chain {
    /// Without any.
    pub const fn new() -> Self {
        Self { frames: [0; MOST], depth: 0 }
    }

    /// The addresses, innermost first.
    pub fn frames(&self) -> &[u64] {
        &self.frames[..self.depth]
    }

    fn push(&mut self, address: u64) {
        // All but the first are return addresses: the call is before them.
        let back = u64::from(self.depth > 0);
        if let Some(frame) = self.frames.get_mut(self.depth) {
            *frame = address - back;
            self.depth += 1;
        }
    }
}

/// Reads the records between two positions of a ring of so many words. The chain is one sample's.
///
/// Within a long system call many samples fall due, but one signal comes, which stands for all of them. So one of them is
/// taken by lot, each with the same chance: `random` gives any number.
///
/// Whatever the words are, it reads no others. Async-signal-safe.
pub fn read(
    words: &[AtomicU64],
    from: u64,
    to: u64,
    mut random: impl FnMut() -> u64,
    chain: &mut Chain,
) -> Found {
    let mut found = Found::default();
    chain.depth = 0;
    let all = to.wrapping_sub(from);
    if all > size_of_val(words) as u64 || !from.is_multiple_of(8) {
        return found;
    }
    // A record may begin at the ring's end and go on at its start.
    let word = |at: u64| words[(at / 8) as usize % words.len()].load(Ordering::Relaxed);
    let mut done = 0;
    let mut chosen = None;
    while all - done >= 8 {
        let at = from.wrapping_add(done);
        let header = word(at);
        let (kind, size) = (header as u32, header >> 48);
        if size < 8 || !size.is_multiple_of(8) || size > all - done {
            // No kernel writes that.
            break;
        }
        match kind {
            bindings::PERF_RECORD_SAMPLE if size >= SAMPLE_BYTES => {
                found.samples += 1;
                if random().is_multiple_of(found.samples) {
                    chosen = Some((at, size));
                }
            }
            bindings::PERF_RECORD_LOST if size >= LOST_BYTES => {
                found.lost = found.lost.saturating_add(word(at.wrapping_add(16)));
            }
            _ => {}
        }
        done += size;
    }
    if let Some((at, size)) = chosen {
        let count = word(at.wrapping_add(8)).min((size - SAMPLE_BYTES) / 8);
        let addresses = (0..count).map(|index| word(at.wrapping_add(SAMPLE_BYTES + 8 * index)));
        // Among them stand marks of where addresses of the kernel, or of the program, begin.
        addresses.filter(|address| KERNEL_CODE.contains(address)).for_each(|address| chain.push(address));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where addresses of the kernel begin, in a chain.
    const CONTEXT: u64 = -128_i64 as u64;
    const CODE: u64 = 0xffff_ffff_8100_0000;

    fn header(kind: u32, words: usize) -> u64 {
        u64::from(kind) | (8 * words as u64) << 48
    }

    fn sample(addresses: &[u64]) -> Vec<u64> {
        let mut record =
            vec![header(bindings::PERF_RECORD_SAMPLE, 2 + addresses.len()), addresses.len() as u64];
        record.extend(addresses);
        record
    }

    /// Writes the records to a ring of 64 words from a place on, and reads them.
    fn read_from(place: u64, records: &[Vec<u64>], random: u64) -> (Found, Vec<u64>) {
        let ring: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(7)).collect();
        let words: Vec<u64> = records.iter().flatten().copied().collect();
        for (word, at) in words.iter().zip(place / 8..) {
            ring[at as usize % 64].store(*word, Ordering::Relaxed);
        }
        let mut chain = Chain::new();
        let found = read(&ring, place, place + 8 * words.len() as u64, || random, &mut chain);
        (found, chain.frames().to_vec())
    }

    #[test]
    fn functions_of_the_kernel_are_read_wherever_the_record_lies() {
        let record = sample(&[CONTEXT, CODE + 3, CODE + 0x100, CODE + 0x200, -512_i64 as u64, 0x5555_0000]);
        for place in (0..2 * 64).map(|word| 8 * word) {
            let (found, frames) = read_from(place, std::slice::from_ref(&record), 0);
            assert_eq!(found, Found { samples: 1, lost: 0 });
            assert_eq!(frames, [CODE + 3, CODE + 0xff, CODE + 0x1ff], "from {place}");
        }
    }

    #[test]
    fn of_several_samples_one_is_drawn_and_the_lost_are_counted() {
        let lost = vec![header(bindings::PERF_RECORD_LOST, 3), 1, 5];
        let records =
            [sample(&[CONTEXT, CODE]), lost, vec![header(5, 1)], sample(&[]), sample(&[CONTEXT, CODE + 8])];
        // Each takes the place of those before it if its number divides what was drawn.
        for (random, expected) in [(0, vec![CODE + 8]), (1, vec![CODE]), (2, vec![])] {
            let (found, frames) = read_from(0, &records, random);
            assert_eq!(found, Found { samples: 3, lost: 5 });
            assert_eq!(frames, expected, "{random}");
        }
    }

    #[test]
    fn nothing_is_read_of_what_no_kernel_writes() {
        let (found, frames) = read_from(0, &[vec![header(bindings::PERF_RECORD_SAMPLE, 0), 1, CODE]], 0);
        assert_eq!((found, frames.len()), (Found::default(), 0));
        let mut chain = Chain::new();
        for (words, from, to) in
            [(0, 0, 8), (0, 0, 0), (1, 0, 16), (1, 4, 8), (1, 16, 8), (4, u64::MAX - 7, 24)]
        {
            let ring: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(u64::MAX)).collect();
            assert_eq!(read(&ring, from, to, || 0, &mut chain), Found::default());
        }
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_left(
            words in prop::collection::vec(any::<u64>(), 0..80),
            headers in prop::collection::vec((0_usize..80, 0_u32..12, 0_u64..40), 0..20),
            from in any::<u64>(),
            length in 0_u64..1000,
            random in any::<u64>(),
        ) {
            let mut words = words;
            // Some of them headers that may be right.
            for (place, kind, size) in headers {
                if let Some(word) = words.get_mut(place) {
                    *word = u64::from(kind) | (8 * size) << 48;
                }
            }
            let words: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
            for from in [from, from & !7] {
                let mut chain = Chain::new();
                let found = read(&words, from, from.wrapping_add(length), || random, &mut chain);
                prop_assert!(found.samples <= words.len() as u64);
                prop_assert!(chain.frames().iter().all(|frame| *frame >= KERNEL_CODE.start - 1));
                prop_assert!(found.samples > 0 || chain.frames().is_empty());
            }
        }
    }
}
