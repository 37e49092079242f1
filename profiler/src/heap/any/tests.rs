//! The wrapper around an allocator that demands each piece back by the layout that it was asked for it by.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use proptest::prelude::*;

use super::fast::{LARGE, PAGE};
use super::sample::LIVE;
use super::{Sampler, thread};

/// The rate is the process's.
static ALONE: Mutex<()> = Mutex::new(());

/// So small that nearly every piece is a sample.
const ALL: u32 = 4;

#[derive(Default)]
struct Strict {
    pieces: Mutex<HashMap<usize, Layout>>,
    /// Of each piece that is asked for fewer bytes than this are there.
    room: Option<usize>,
}

impl Strict {
    fn given(&self, memory: *mut u8, layout: Layout) -> *mut u8 {
        let former = self.pieces.lock().unwrap().insert(memory.addr(), layout);
        assert!(former.is_none(), "{memory:?} is given twice");
        memory
    }

    fn back(&self, memory: *mut u8, layout: Layout) {
        let asked = self.pieces.lock().unwrap().remove(&memory.addr());
        assert_eq!(asked, Some(layout), "{memory:?} comes back by another layout");
    }

    fn has_room(&self, layout: Layout) -> bool {
        self.room.is_none_or(|room| layout.size().max(layout.align()) < room)
    }
}

// SAFETY: all calls are passed on to the system's allocator, or refused.
unsafe impl GlobalAlloc for Strict {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !self.has_room(layout) {
            return std::ptr::null_mut();
        }
        // SAFETY: by the caller's promise.
        self.given(unsafe { System.alloc(layout) }, layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !self.has_room(layout) {
            return std::ptr::null_mut();
        }
        // SAFETY: by the caller's promise.
        self.given(unsafe { System.alloc_zeroed(layout) }, layout)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.back(memory, layout);
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let new = Layout::from_size_align(size, layout.align()).unwrap();
        if !self.has_room(new) {
            return std::ptr::null_mut();
        }
        self.back(memory, layout);
        // SAFETY: by the caller's promise.
        self.given(unsafe { System.realloc(memory, layout, size) }, new)
    }
}

/// A piece with what was written to it.
struct Piece {
    memory: *mut u8,
    layout: Layout,
    mark: u8,
}

impl Piece {
    fn new(from: &Sampler<Strict>, layout: Layout, zeroed: bool, mark: u8) -> Self {
        // SAFETY: the size is not 0.
        let memory = unsafe { if zeroed { from.alloc_zeroed(layout) } else { from.alloc(layout) } };
        assert!(!memory.is_null() && memory.addr() % layout.align() == 0);
        let mut piece = Self { memory, layout, mark };
        if zeroed {
            piece.check(layout.size(), 0);
        }
        piece.fill();
        piece
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the piece is this large and owned by this value.
        unsafe { std::slice::from_raw_parts_mut(self.memory, self.layout.size()) }
    }

    fn fill(&mut self) {
        let mark = self.mark;
        self.bytes().fill(mark);
    }

    fn check(&mut self, up_to: usize, mark: u8) {
        assert!(self.bytes()[..up_to].iter().all(|&byte| byte == mark), "its bytes are as they were");
    }

    fn resize(&mut self, from: &Sampler<Strict>, size: usize) {
        // SAFETY: the piece was allocated by this layout, and the size is not 0.
        let memory = unsafe { from.realloc(self.memory, self.layout, size) };
        if memory.is_null() {
            return self.check(self.layout.size(), self.mark);
        }
        assert!(memory.addr() % self.layout.align() == 0);
        let kept = self.layout.size().min(size);
        self.memory = memory;
        self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        self.check(kept, self.mark);
        self.fill();
    }

    fn free(mut self, from: &Sampler<Strict>) {
        self.check(self.layout.size(), self.mark);
        // SAFETY: the piece was allocated by this layout and is freed once.
        unsafe { from.dealloc(self.memory, self.layout) };
    }
}

fn samples() -> usize {
    let mut samples = 0;
    LIVE.each(|_| samples += 1);
    samples
}

/// With the rate for the calling thread, at once.
fn at<R>(rate: u32, run: impl FnOnce() -> R) -> R {
    thread::set_rate(rate);
    let result = run();
    thread::set_rate(thread::OFF);
    result
}

fn sampler(room: Option<usize>) -> Sampler<Strict> {
    Sampler::with_rate(Strict { room, ..Strict::default() }, None)
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    New { size: usize, align: usize, zeroed: bool },
    Resize { which: usize, size: usize },
    Free { which: usize },
    Rate(u32),
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..600_usize, 2 => 1..2 * PAGE, 2 => LARGE - 40..LARGE + 40, 1 => LARGE..3 * LARGE]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let align = prop_oneof![6 => (0..6_u32).prop_map(|lg| 1 << lg), 1 => Just(PAGE), 1 => Just(4 * PAGE)];
    let new = (size(), align, any::<bool>());
    let step = prop_oneof![
        4 => new.prop_map(|(size, align, zeroed)| Step::New { size, align, zeroed }),
        4 => (any::<usize>(), size()).prop_map(|(which, size)| Step::Resize { which, size }),
        2 => any::<usize>().prop_map(|which| Step::Free { which }),
        1 => prop_oneof![Just(ALL), Just(10), Just(thread::OFF)].prop_map(Step::Rate),
    ];
    let steps = if cfg!(miri) { 30 } else { 300 };
    prop::collection::vec(step, 1..steps)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 128 }))]
    #[test]
    fn pieces_keep_their_bytes_and_go_back_as_they_were_asked_for(steps in steps()) {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let sampler = sampler(None);
        let mut pieces: Vec<Piece> = Vec::new();
        at(ALL, || {
            for (mark, step) in (1..=255).cycle().zip(steps) {
                let pick = |which: usize, pieces: &[Piece]| which.checked_rem(pieces.len());
                match step {
                    Step::New { size, align, zeroed } => {
                        pieces.push(Piece::new(&sampler, layout(size, align), zeroed, mark));
                    }
                    Step::Resize { which, size } => {
                        if let Some(which) = pick(which, &pieces) {
                            pieces[which].resize(&sampler, size);
                        }
                    }
                    Step::Free { which } => {
                        if let Some(which) = pick(which, &pieces) {
                            pieces.swap_remove(which).free(&sampler);
                        }
                    }
                    Step::Rate(rate) => thread::set_rate(rate),
                }
            }
        });
        assert!(samples() <= pieces.len());
        for piece in pieces {
            piece.free(&sampler);
        }
        assert_eq!(samples(), 0);
        assert!(sampler.inner.pieces.lock().unwrap().is_empty());
    }
}

#[test]
fn what_can_be_told_from_others_is_looked_up_and_a_full_table_marks_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sampler = sampler(None);
    // More than there is room for, of a size that is nearly always sampled.
    let count = if cfg!(miri) { 10 } else { (1 << 17) + 5_000 };
    let before = LIVE.refused();
    let pieces: Vec<Piece> = at(ALL, || {
        (0..count).map(|number| Piece::new(&sampler, layout(600, 8), false, number as u8)).collect()
    });
    let refused = LIVE.refused() - before;
    assert!(cfg!(miri) || (5_000..30_000).contains(&refused), "{refused}");
    assert_eq!(samples() as u64, count as u64 - refused);
    let marked = pieces.iter().filter(|piece| LIVE.find(piece.memory.addr()).is_some()).count();
    assert_eq!(marked, samples());
    for piece in pieces {
        piece.free(&sampler);
    }
    assert_eq!(samples(), 0);
}

#[test]
fn where_there_is_no_room_to_mark_a_piece_it_is_given_as_it_was_asked_for() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sampler = sampler(Some(PAGE));
    let mut piece = at(ALL, || Piece::new(&sampler, layout(600, 8), true, 1));
    assert_eq!(samples(), 0);
    at(ALL, || piece.resize(&sampler, 900));
    assert_eq!(piece.layout.size(), 900);
    at(ALL, || piece.resize(&sampler, PAGE));
    assert_eq!(piece.layout.size(), 900, "there is no room for that much");
    piece.free(&sampler);
}

#[test]
fn a_large_sample_stays_one_where_it_can_not_grow() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sampler = sampler(Some(2 * LARGE));
    let mut piece = at(ALL, || Piece::new(&sampler, layout(LARGE, 8), false, 1));
    assert_eq!(samples(), 1);
    at(ALL, || piece.resize(&sampler, 2 * LARGE));
    assert_eq!((piece.layout.size(), samples()), (LARGE, 1));
    piece.resize(&sampler, LARGE + 1);
    assert_eq!(samples(), 0, "of its new size it is none, as nothing is sampled");
    piece.free(&sampler);
}

#[test]
fn each_size_is_sampled_with_the_chance_that_its_weight_undoes() {
    use super::super::estimate::stands_for;

    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if cfg!(miri) {
        return;
    }
    for size in [1_usize, 64, 1024, 5000] {
        let trials = 400_000;
        let hits = at(10, || {
            (0..trials).filter(|_| thread::count(size) && thread::is_sample(size).is_some()).count()
        });
        let expected = trials as f64 / stands_for(size as f64, 1 << 10);
        let error = (hits as f64 - expected).abs();
        assert!(error <= 5.0 * expected.sqrt(), "{size}: {hits} for {expected}");
    }
}
