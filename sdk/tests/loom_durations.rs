//! A histogram's writer and a reader meanwhile, under all interleavings that Loom can think of:
//! `RUSTFLAGS="--cfg loom" cargo test -p stagelight --test loom_durations --release`.
//!
//! A model, with Loom's types, of `record::durations::Durations::{record, read}`: the same loads and stores in the same
//! order with the same orderings. Who changes one changes the other.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering::*, fence};
use loom::thread;

const CELLS: usize = 3;
const NUMBER_SHIFT: u32 = 48;

struct Durations {
    timed: AtomicU64,
    pending: AtomicU64,
    cells: [AtomicU64; CELLS],
}

impl Durations {
    fn new() -> Arc<Self> {
        let new = || AtomicU64::new(0);
        Arc::new(Self { timed: new(), pending: new(), cells: [new(), new(), new()] })
    }

    /// `Durations::record`, of a duration that belongs to that cell.
    fn record(&self, cell: usize) {
        let timed = self.timed.load(Relaxed);
        let before = self.pending.load(Relaxed);
        self.pending.store(cell as u64 | (timed + 1) << NUMBER_SHIFT, Relaxed);
        fence(Release);
        if timed != 0 {
            let count = &self.cells[before as usize % (1 << 16)];
            count.store(count.load(Relaxed) + 1, Relaxed);
        }
        self.timed.store(timed + 1, Release);
    }

    /// `Durations::stable` and `steady`, which here give up at once, so that there are few interleavings: what it does not find is
    /// not looked at.
    fn stable(&self) -> Option<(u64, usize)> {
        let timed = self.timed.load(Acquire);
        let pending = self.pending.load(Acquire);
        (pending >> NUMBER_SHIFT == timed).then_some((timed, pending as usize % (1 << 16)))
    }

    /// `Durations::read`.
    fn read(&self) -> Option<[u64; CELLS]> {
        let (timed, last) = self.stable()?;
        let mut sum = [0; CELLS];
        if timed == 0 {
            return Some(sum);
        }
        for (index, count) in self.cells.iter().enumerate() {
            if index != last {
                sum[index] = count.load(Relaxed);
            }
        }
        let (timed_since, _) = self.stable()?;
        sum[last] = self.cells[last].load(Relaxed);
        fence(Acquire);
        if self.stable()?.0 != timed_since {
            return None;
        }
        if timed_since == timed {
            sum[last] += 1;
        }
        Some(sum)
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(4));
    builder.check(check);
}

#[test]
fn a_reader_counts_each_once_and_a_later_one_sees_no_less() {
    const RECORDED: [usize; 4] = [0, 1, 0, 2];
    model(|| {
        let durations = Durations::new();
        let writer = thread::spawn({
            let durations = durations.clone();
            move || RECORDED.iter().for_each(|&cell| durations.record(cell))
        });
        // Without it Loom has the reader run to its end before the writer begins, and takes no other order for needed.
        thread::yield_now();
        let (first, second) = (durations.read(), durations.read());
        if let (Some(first), Some(second)) = (first, second) {
            assert!(first.iter().zip(&second).all(|(first, second)| first <= second), "{first:?} {second:?}");
            assert!(second[0] <= 2 && second[1] <= 1 && second[2] <= 1, "{second:?}");
        }
        writer.join().unwrap();
        assert_eq!(durations.read(), Some([2, 1, 1]));
    });
}
