//! The traces that are remembered: those of failed, of slow and of chosen queries apart, each
//! within so many bytes.
//!
//! A shelf holds one statement's. Where bytes run short, a trace of the statement that has most of
//! them goes: of the slow ones the quickest, of all others the oldest. So no statement, however
//! hot, drives out those of others, and what was chosen drives out nothing that was slow or failed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::trace::Trace;

/// Slow traces that a statement keeps; once it has so many, only slower ones are taken.
const SLOWEST: usize = 32;

/// How long a slow trace stands in the way of quicker ones.
const STALE: Duration = Duration::from_secs(300);

/// Bytes of the failed, the slow and the chosen traces.
const BYTES: [usize; 3] = [1 << 20, 2 << 20, 1 << 20];

/// All of them.
pub(crate) struct Shelves {
    kinds: [Kind; 3],
}

/// Traces that were kept for the same reason.
struct Kind {
    shelves: HashMap<&'static str, Shelf>,
    bytes: usize,
    most: usize,
}

/// One statement's, the oldest first.
#[derive(Default)]
struct Shelf {
    traces: VecDeque<Arc<Trace>>,
    bytes: usize,
}

const FAILED: usize = 0;
const SLOW: usize = 1;
const CHOSEN: usize = 2;

impl Shelves {
    pub(crate) fn new() -> Self {
        Self { kinds: BYTES.map(|most| Kind { shelves: HashMap::new(), bytes: 0, most }) }
    }

    /// Puts a trace on the shelf for what it was kept for first: failing, being slow, or being
    /// chosen.
    pub(crate) fn put(&mut self, trace: Arc<Trace>) {
        let kind = match trace.kept {
            kept if kept.failed => FAILED,
            kept if kept.slow => SLOW,
            _ => CHOSEN,
        };
        let [statement, ..] = trace.labels;
        let of_kind = &mut self.kinds[kind];
        let bytes = trace.bytes();
        let shelf = of_kind.shelves.entry(statement).or_default();
        shelf.traces.push_back(trace);
        shelf.bytes += bytes;
        of_kind.bytes += bytes;
        if kind == SLOW && shelf.traces.len() > SLOWEST {
            of_kind.bytes -= shelf.drop_slow();
        }
        if of_kind.bytes > of_kind.most {
            of_kind.make_room(|shelf| if kind == SLOW { shelf.drop_slow() } else { shelf.drop_at(0) });
        }
    }

    /// Nanoseconds beyond which a statement's slow traces are worth more than the quickest that it
    /// keeps. 0 while there is room for any.
    pub(crate) fn least_slow(&self, statement: &str) -> u64 {
        let Some(shelf) = self.kinds[SLOW].shelves.get(statement) else { return 0 };
        let oldest = SystemTime::now().checked_sub(STALE);
        let fresh = shelf.traces.iter().filter(|trace| oldest.is_none_or(|oldest| trace.end() >= oldest));
        if fresh.count() < SLOWEST {
            return 0;
        }
        let least = shelf.traces.iter().map(|trace| trace.duration()).min().unwrap_or_default();
        u64::try_from(least.as_nanos()).unwrap_or(u64::MAX)
    }

    /// All, the latest first.
    pub(crate) fn all(&self) -> Vec<Arc<Trace>> {
        let shelves = self.kinds.iter().flat_map(|kind| kind.shelves.values());
        let mut all: Vec<Arc<Trace>> = shelves.flat_map(|shelf| shelf.traces.iter().cloned()).collect();
        all.sort_by_cached_key(|trace| std::cmp::Reverse(trace.end()));
        all
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

impl Kind {
    /// Drops traces of the statements that have most, and some more than need be: to look through
    /// all statements for each trace that comes would cost more than all else that is done for it.
    fn make_room(&mut self, drop: impl Fn(&mut Shelf) -> usize) {
        let enough = self.most - self.most / 8;
        while self.bytes > enough {
            let most = self.shelves.values().map(|shelf| shelf.bytes).max().unwrap_or(0);
            for shelf in self.shelves.values_mut() {
                while self.bytes > enough && shelf.bytes > most - most / 4 {
                    self.bytes -= drop(shelf);
                }
            }
            self.shelves.retain(|_, shelf| !shelf.traces.is_empty());
            if most == 0 {
                break;
            }
        }
    }
}

impl Shelf {
    /// Drops a stale trace, or the quickest. Gives the bytes that it took.
    fn drop_slow(&mut self) -> usize {
        let stale = SystemTime::now().checked_sub(STALE);
        let oldest = self.traces.front().zip(stale).is_some_and(|(oldest, stale)| oldest.end() < stale);
        let quickest = self.traces.iter().enumerate().min_by_key(|(_, trace)| trace.duration());
        self.drop_at(if oldest { 0 } else { quickest.map_or(0, |(place, _)| place) })
    }

    fn drop_at(&mut self, place: usize) -> usize {
        let bytes = self.traces.remove(place).map_or(0, |trace| trace.bytes());
        self.bytes -= bytes;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::{Kept, Span};
    use super::*;

    fn trace(statement: &'static str, kept: Kept, ms: u64, spans: usize) -> Arc<Trace> {
        let span = Span {
            id: 1,
            parent: None,
            name: "shelf.query",
            component: "tests",
            query: None,
            start: SystemTime::now(),
            duration: Duration::from_millis(ms),
            failed: kept.failed,
            error: None,
            alloc_bytes: 0,
            attributes: Vec::new(),
            events: Vec::new(),
        };
        let labels = [statement, "", "", ""];
        Arc::new(Trace { trace_id: 7, parent_id: None, labels, kept, spans: vec![span; spans], omitted: 0 })
    }

    const HEAD: Kept = Kept { head: true, slow: false, failed: false };
    const TOO_SLOW: Kept = Kept { head: true, slow: true, failed: false };
    const BROKEN: Kept = Kept { head: true, slow: true, failed: true };

    fn count(shelves: &Shelves, statement: &str) -> usize {
        shelves.all().iter().filter(|trace| trace.labels[0] == statement).count()
    }

    #[test]
    fn a_hot_statement_drives_out_nothing_but_its_own() {
        let mut shelves = Shelves::new();
        for kept in [HEAD, TOO_SLOW, BROKEN] {
            shelves.put(trace("rare", kept, 5, 3));
        }
        for n in 0..20_000 {
            for kept in [HEAD, TOO_SLOW, BROKEN] {
                shelves.put(trace("hot", kept, 1000 + n % 977, 6));
            }
        }
        assert_eq!(count(&shelves, "rare"), 3);
        let bytes = |kind: &Kind| {
            let traces = kind.shelves.values().flat_map(|shelf| &shelf.traces);
            traces.map(|trace| trace.bytes()).sum::<usize>()
        };
        for (kind, most) in shelves.kinds.iter().zip(BYTES) {
            assert!(kind.bytes == bytes(kind) && kind.bytes <= most, "{} of {most}", kind.bytes);
        }
    }

    #[test]
    fn the_slowest_of_a_statement_stay_and_quicker_ones_need_not_come() {
        let mut shelves = Shelves::new();
        for n in 0..1_000 {
            // In no order; each length once.
            shelves.put(trace("slow", TOO_SLOW, 1 + n * 7 % 1_000, 2));
            if n == 20 {
                assert_eq!(shelves.least_slow("slow"), 0);
            }
        }
        let mut lengths: Vec<_> = shelves.all().iter().map(|trace| trace.duration().as_millis()).collect();
        lengths.sort_unstable();
        let expected: Vec<u128> = (1_000 - SLOWEST as u128 + 1..=1_000).collect();
        assert_eq!(lengths, expected);
        assert_eq!(shelves.least_slow("slow"), 969_000_000);
        assert_eq!(shelves.least_slow("another"), 0);
    }
}
