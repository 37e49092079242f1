//! A thread's span ring and the one who reads it, under all interleavings that Loom can think of:
//! `RUSTFLAGS="--cfg loom" cargo test -p stagelight --test loom_spans --release`.
//!
//! A model, with Loom's types, of `record::spans::SpanRing::{resume, write, end_query, drain}`: the
//! same loads and stores in the same order with the same orderings. Who changes one changes the
//! other.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering::*};
use loom::thread;

/// Of a ring, and of one query at most.
const RECORDS: usize = 5;
const ROOM: usize = 2;

/// Unread records beyond which no more are published.
const UNREAD: u64 = (RECORDS - 2 * ROOM) as u64;
const WORDS: usize = 2;

struct SpanRing {
    begin: AtomicU64,
    published: AtomicU64,
    end: AtomicU64,
    refused: AtomicU64,
    records: [[AtomicU64; WORDS]; RECORDS],
}

impl SpanRing {
    fn new() -> Arc<Self> {
        let new = || AtomicU64::new(0);
        let records = [(); RECORDS].map(|()| [(); WORDS].map(|()| new()));
        Arc::new(Self { begin: new(), published: new(), end: new(), refused: new(), records })
    }

    /// `SpanRing::resume`.
    fn resume(&self) {
        self.end.store(self.published.load(Relaxed), Relaxed);
    }

    /// `SpanRing::write`.
    fn write(&self, value: u64) {
        let end = self.end.load(Relaxed);
        for word in &self.records[end as usize % RECORDS] {
            word.store(value, Relaxed);
        }
        self.end.store(end + 1, Relaxed);
    }

    /// `SpanRing::end_query` of one that is kept if there is room.
    fn publish(&self) {
        if self.published.load(Relaxed) - self.begin.load(Acquire) > UNREAD {
            return self.refused.store(self.refused.load(Relaxed) + 1, Relaxed);
        }
        self.published.store(self.end.load(Relaxed), Release);
    }

    /// `SpanRing::drain`.
    fn drain(&self, taken: &mut Vec<u64>) {
        let published = self.published.load(Acquire);
        let mut begin = self.begin.load(Relaxed);
        while begin != published {
            let words = self.records[begin as usize % RECORDS].each_ref().map(|word| word.load(Relaxed));
            assert_eq!(words[0], words[1], "a torn record");
            taken.push(words[0]);
            begin += 1;
        }
        self.begin.store(begin, Release);
    }
}

#[test]
fn what_is_kept_is_read_whole_and_once_and_what_is_not_never() {
    loom::model(|| {
        let ring = SpanRing::new();
        let owner = thread::spawn({
            let ring = ring.clone();
            move || {
                // Kept, taken back, kept if the first was read by then, and taken back, over what
                // was read.
                for (kept, values) in [(true, [1, 2]), (false, [3, 4]), (true, [5, 6]), (false, [7, 8])] {
                    ring.resume();
                    values.iter().for_each(|&value| ring.write(value));
                    if kept {
                        ring.publish();
                    }
                }
            }
        });
        let mut taken = Vec::new();
        ring.drain(&mut taken);
        ring.drain(&mut taken);
        owner.join().unwrap();
        ring.drain(&mut taken);
        let refused = ring.refused.load(Relaxed);
        assert!(taken == [1, 2, 5, 6] || (taken == [1, 2] && refused > 0), "{taken:?}, {refused} refused");
    });
}
