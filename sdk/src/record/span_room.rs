//! Which spans a query keeps that has more of them than there is room for: the longest, and before
//! those the failed.
//!
//! A span is no shorter than those that lie in it, so what is left hangs together. What was noted
//! on a span that goes, goes with it.

use super::span_record::{DEPTH_SHIFT, FAILED, Record, SPAN};

/// Records that are thinned out at once, at most.
pub(crate) const MOST: usize = 512;

/// Where records stand.
pub(crate) trait Records {
    fn get(&self, index: usize) -> Record;
    fn set(&mut self, index: usize, record: Record);
}

impl Records for &mut [Record] {
    fn get(&self, index: usize) -> Record {
        self[index]
    }

    fn set(&mut self, index: usize, record: Record) {
        self[index] = record;
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thinned {
    /// Records that are left, from the first on.
    pub(crate) left: usize,
    /// What a span must weigh to be kept from now on.
    pub(crate) least: u64,
    /// Spans that went.
    pub(crate) omitted: u64,
}

/// What decides whether a span is kept: its length; one that failed outweighs all that did not.
pub(crate) fn weight(ns: u64, failed: bool) -> u64 {
    const FAILURE: u64 = 1 << 62;
    ns.min(FAILURE - 1) + if failed { FAILURE } else { 0 }
}

/// Takes out the lighter half of the spans among the first `count` records, of which only [`MOST`]
/// are looked at. Where they hardly are spans, nothing is gained by it: then `least` is more than
/// any span weighs.
#[cold]
#[inline(never)]
pub(crate) fn thin(records: &mut impl Records, count: usize) -> Thinned {
    let mut weights = [0; MOST];
    let mut spans = 0;
    for index in 0..count {
        let record = records.get(index);
        if kind(&record) == SPAN
            && let Some(place) = weights.get_mut(spans)
        {
            *place = weight_of(&record);
            spans += 1;
        }
    }
    if spans < MOST / 8 {
        return Thinned { left: count, least: u64::MAX, omitted: 0 };
    }
    let (_, middle, _) = weights[..spans].select_nth_unstable(spans / 2);
    let least = *middle + 1;
    let (mut left, mut omitted) = (0, 0);
    for index in 0..count {
        let record = records.get(index);
        if kind(&record) != SPAN || weight_of(&record) >= least {
            records.set(left, record);
            left += 1;
            continue;
        }
        omitted += 1;
        // What was noted in it stands last, deeper than itself.
        while left > 0 && is_note_below(&records.get(left - 1), depth(&record)) {
            left -= 1;
        }
    }
    Thinned { left, least, omitted }
}

fn kind(record: &Record) -> u64 {
    record[0] & 0xff
}

fn depth(record: &Record) -> u8 {
    (record[0] >> DEPTH_SHIFT) as u8
}

fn weight_of(record: &Record) -> u64 {
    weight(record[2], record[0] & FAILED != 0)
}

/// Whether it was noted on a span of that depth or a deeper one.
pub(crate) fn is_note_below(record: &Record, span: u8) -> bool {
    kind(record) != SPAN && depth(record) > span
}

#[cfg(test)]
mod tests {
    use super::super::span_record::{EVENT, depth_bits};
    use super::*;

    fn span(depth: u32, ns: u64, failed: bool) -> Record {
        [SPAN | depth_bits(depth) | if failed { FAILED } else { 0 }, 0, ns, 0, 0, 0]
    }

    fn note(depth: u32) -> Record {
        [EVENT | depth_bits(depth), 0, 0, 0, 0, 0]
    }

    #[test]
    fn the_longest_and_the_failed_stay_with_what_was_noted_on_them() {
        let mut records = Vec::new();
        // Within a root at depth 0, whose event comes first, a hundred spans with an event each;
        // one in ten fails.
        records.push(note(1));
        for n in 1..=100 {
            records.push(note(2));
            records.push(span(1, n, n % 10 == 0));
        }
        let count = records.len();
        let thinned = thin(&mut &mut records[..], count);
        assert_eq!((thinned.left as u64, thinned.least), (count as u64 - 2 * thinned.omitted, 57));
        records.truncate(thinned.left);
        assert_eq!(records[0], note(1), "what was noted on the root stays");
        let kept: Vec<_> = records[1..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
        assert!(kept.iter().all(|(first, _)| *first == note(2)));
        let lengths: Vec<_> = kept.iter().map(|(_, span)| span[2]).collect();
        let expected: Vec<_> = (1..=100).filter(|n| n % 10 == 0 || *n >= 57).collect();
        assert_eq!(lengths, expected);
    }

    #[test]
    fn what_are_hardly_spans_stays_as_it_is() {
        let mut records = vec![note(1); 400];
        records.push(span(1, 5, false));
        let thinned = thin(&mut &mut records[..], 401);
        assert_eq!(thinned, Thinned { left: 401, least: u64::MAX, omitted: 0 });
    }
}
