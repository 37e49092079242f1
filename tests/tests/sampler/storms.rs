//! Everything at once, at a rate at which most of it is sampled: no byte is lost, and no allocator is confused.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use stagelight_profiler::{heap, sample_heap};

use super::alone;
use super::piece::{Piece, Random};

/// Runs at the highest rate.
fn at_the_highest_rate(run: impl FnOnce()) {
    let _alone = alone();
    sample_heap(Some(10)).unwrap();
    run();
    sample_heap(Some(15)).unwrap();
}

/// Makes, resizes and frees pieces of its own and those that others left.
fn storm(seed: u64, steps: u32, shared: &Mutex<Vec<Piece>>) {
    let mut random = Random(seed);
    let mut own: Vec<Piece> = Vec::new();
    for _ in 0..steps {
        let which = random.below(own.len().max(1) as u64) as usize;
        match random.below(10) {
            0..4 => {
                let align = if random.below(8) == 0 { 1 << (4 + random.below(12)) } else { 8 };
                let (zeroed, mark) = (random.below(2) == 0, random.below(256) as u8);
                own.push(Piece::with(random.size(), align, zeroed, mark));
            }
            4..7 if !own.is_empty() => own[which].resize(random.size()),
            7 if !own.is_empty() => drop(own.swap_remove(which)),
            8 if !own.is_empty() => shared.lock().unwrap().push(own.swap_remove(which)),
            9 => own.extend(shared.lock().unwrap().pop()),
            _ => {}
        }
        if own.len() > 200 {
            own.truncate(100);
        }
    }
}

#[test]
fn pieces_keep_their_bytes_whatever_is_done_to_them_and_by_whom() {
    at_the_highest_rate(|| {
        let shared = Mutex::new(Vec::new());
        let switching = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=4)
                .map(|seed| {
                    let shared = &shared;
                    scope.spawn(move || storm(seed, 10_000, shared))
                })
                .collect();
            // Meanwhile it is switched, and looked at.
            let switching = &switching;
            scope.spawn(move || {
                while switching.load(Ordering::Relaxed) {
                    sample_heap(None).unwrap();
                    heap().run().unwrap();
                    sample_heap(Some(10)).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            });
            for thread in threads {
                thread.join().unwrap();
            }
            switching.store(false, Ordering::Relaxed);
        });
        drop(shared);
    });
}

#[test]
fn vectors_grow_by_pushes_of_many_threads() {
    at_the_highest_rate(|| {
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                scope.spawn(move || {
                    for round in 0..60 {
                        let mut grown = Vec::new();
                        (0..(round + 1) * 300).for_each(|number| grown.push(thread << 32 | number));
                        assert!((0..).zip(&grown).all(|(number, &value)| value == thread << 32 | number));
                    }
                });
            }
        });
    });
}

#[test]
fn a_thread_that_ends_frees_and_allocates_in_its_destructors() {
    struct Late(Vec<Piece>);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.push(Piece::new(2000));
            self.0.iter_mut().for_each(|piece| piece.resize(6000));
        }
    }
    thread_local!(static LATE: RefCell<Option<Late>> = const { RefCell::new(None) });
    at_the_highest_rate(|| {
        for _ in 0..50 {
            let thread = std::thread::spawn(|| {
                LATE.set(Some(Late((1..20).map(|n| Piece::new(n * 300)).collect())));
            });
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_forked_child_goes_on_while_its_parents_threads_are_gone() {
    at_the_highest_rate(|| {
        let going = Arc::new(AtomicBool::new(true));
        let shared = Arc::new(Mutex::new(Vec::new()));
        let other = std::thread::spawn({
            let going = Arc::clone(&going);
            move || {
                let mut seed = 77;
                while going.load(Ordering::Relaxed) {
                    seed += 1;
                    storm(seed, 100, &Mutex::new(Vec::new()));
                }
            }
        });
        let mut before: Vec<Piece> = (1..200).map(|n| Piece::new(n * 37)).collect();
        for round in 0..20 {
            // SAFETY: the child allocates, and ends without running anything of the parent's. glibc and mimalloc let a
            // child allocate.
            match unsafe { libc::fork() } {
                0 => {
                    before.iter_mut().for_each(|piece| piece.resize(piece.size() + 500));
                    drop(before);
                    storm(round, 500, &shared);
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(0) };
                }
                child => {
                    assert!(child > 0);
                    let mut status = 0;
                    // SAFETY: the child is this process's, and the place to write to is ours.
                    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                    assert_eq!(status, 0, "the child of round {round}");
                }
            }
        }
        going.store(false, Ordering::Relaxed);
        other.join().unwrap();
    });
}
