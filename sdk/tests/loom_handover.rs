//! The hand-over of a block from a thread that ends to the next one, under all interleavings that Loom can think of:
//! `RUSTFLAGS="--cfg loom" cargo test -p stagelight --test loom_handover --release`.
//!
//! A model, with Loom's types, of what `record::registry::{acquire, release, blocks}`, `record::block::Block::{adopt,
//! release, push, count_stage, read_stage}`, `record::lines::Lines::{add, grow, read}` and `record::cells` do: the same loads
//! and stores in the same order with the same orderings. Who changes one changes the other. What is between a histogram's
//! writer and its reader has a model of its own, `loom_durations`.
#![cfg(loom)]

use std::collections::VecDeque;

use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// As `Cell64`: one writer, by plain loads and stores.
struct Cell(AtomicU64);

impl Cell {
    fn new() -> Self {
        Cell(AtomicU64::new(0))
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn add(&self, n: u64) {
        self.0.store(self.get() + n, Relaxed);
    }
}

/// A block with one stage, whose histogram has one line of one count.
struct Block {
    tid: AtomicU32,
    depth: AtomicU32,
    calls: Cell,
    slot: AtomicU32,
    used: AtomicU32,
    lines: [Cell; 3],
    /// What is not in the real block: whether a thread holds it, to find two that do.
    held: AtomicBool,
}

const NS: u64 = 7;

impl Block {
    fn new() -> Self {
        Block {
            tid: AtomicU32::new(0),
            depth: AtomicU32::new(0),
            calls: Cell::new(),
            slot: AtomicU32::new(0),
            used: AtomicU32::new(0),
            lines: [Cell::new(), Cell::new(), Cell::new()],
            held: AtomicBool::new(false),
        }
    }

    /// `Block::adopt`.
    fn adopt(&self, tid: u32) {
        assert!(!self.held.swap(true, Relaxed), "two threads hold a block");
        self.depth.store(0, Relaxed);
        self.tid.store(tid, Relaxed);
    }

    /// `Block::release`.
    fn release(&self) {
        self.depth.store(0, Relaxed);
        self.tid.store(0, Relaxed);
        assert!(self.held.swap(false, Relaxed));
    }

    /// `Block::push`, `Block::count_stage` and `Lines::add`: a call of the stage.
    fn record(&self) {
        let depth = self.depth.load(Relaxed);
        assert_eq!(depth, 0, "the owner before left the block in a stage");
        self.depth.store(depth + 1, Relaxed);
        self.depth.store(depth, Relaxed);
        self.calls.add(1);
        let start = match self.slot.load(Relaxed) {
            // `Lines::grow`; the first line stays unused.
            0 => {
                let start = self.used.load(Relaxed).max(1);
                self.used.store(start + 1, Relaxed);
                self.slot.store(start, Relaxed);
                start
            }
            start => start,
        };
        self.lines[start as usize].add(NS);
    }

    /// `Block::read_stage`: calls, and what lies in the line.
    fn read(&self) -> (u64, u64) {
        let cell = match self.slot.load(Relaxed) {
            0 => 0,
            start => self.lines[start as usize].get(),
        };
        (self.calls.get(), cell)
    }
}

/// The blocks by number, as Loom has no statics that a model could start anew.
struct Registry {
    all: [Block; 2],
    lists: Mutex<Lists>,
    exhausted: AtomicBool,
}

struct Lists {
    mapped: usize,
    free: VecDeque<usize>,
    max: usize,
}

impl Registry {
    fn new(max: usize) -> Arc<Self> {
        Arc::new(Registry {
            all: [Block::new(), Block::new()],
            lists: Mutex::new(Lists { mapped: 0, free: VecDeque::new(), max }),
            exhausted: AtomicBool::new(false),
        })
    }

    /// `registry::acquire`.
    fn acquire(&self, tid: u32) -> Option<usize> {
        if self.exhausted.load(Relaxed) {
            return None;
        }
        let block = {
            let mut lists = self.lists.lock().unwrap();
            match lists.free.pop_back() {
                Some(block) => block,
                None if lists.mapped < lists.max => {
                    lists.mapped += 1;
                    lists.mapped - 1
                }
                None => {
                    self.exhausted.store(true, Relaxed);
                    return None;
                }
            }
        };
        self.all[block].adopt(tid);
        Some(block)
    }

    /// `registry::release`.
    fn release(&self, block: usize) {
        self.all[block].release();
        self.lists.lock().unwrap().free.push_back(block);
        self.exhausted.store(false, Relaxed);
    }

    /// `registry::blocks` and a sum over them.
    fn sum(&self) -> (u64, u64) {
        let mapped = self.lists.lock().unwrap().mapped;
        let read = self.all[..mapped].iter().map(Block::read);
        read.fold((0, 0), |sum, figures| (sum.0 + figures.0, sum.1 + figures.1))
    }
}

/// All interleavings with at most so many preemptions: without a bound it takes hours. `LOOM_MAX_PREEMPTIONS` says another.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(check);
}

/// A thread's life: how many of its calls were recorded.
fn live(registry: &Registry, tid: u32, calls: u64) -> u64 {
    let Some(block) = registry.acquire(tid) else { return 0 };
    (0..calls).for_each(|_| registry.all[block].record());
    registry.release(block);
    calls
}

#[test]
fn what_one_thread_left_the_next_goes_on_with() {
    model(|| {
        let registry = Registry::new(2);
        let threads = [(1, 2), (2, 1)].map(|(tid, calls)| {
            let registry = registry.clone();
            thread::spawn(move || live(&registry, tid, calls))
        });
        // A reader meanwhile sees past values, no more than was recorded, and figures that only grow.
        let first = registry.sum();
        let second = registry.sum();
        assert!(second.0 >= first.0 && second.1 >= first.1, "{first:?} {second:?}");
        assert!(second.0 <= 3 && second.1 <= 3 * NS, "{second:?}");
        let recorded: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(recorded, 3);
        assert_eq!(registry.sum(), (3, 3 * NS));
        // All blocks are free again, and the next thread gets one that was used.
        let mapped = registry.lists.lock().unwrap().mapped;
        assert_eq!(live(&registry, 3, 1), 1);
        assert_eq!(registry.lists.lock().unwrap().mapped, mapped);
        assert_eq!(registry.sum(), (4, 4 * NS));
    });
}

#[test]
fn past_the_cap_a_thread_is_refused_and_none_for_ever() {
    model(|| {
        let registry = Registry::new(1);
        let threads = [1, 2].map(|tid| {
            let registry = registry.clone();
            thread::spawn(move || live(&registry, tid, 1))
        });
        let recorded: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!((1..=2).contains(&recorded));
        assert_eq!(registry.sum(), (recorded, recorded * NS));
        // Whoever was refused: now that a block is free, the next thread gets it.
        assert_eq!(live(&registry, 3, 1), 1);
    });
}
