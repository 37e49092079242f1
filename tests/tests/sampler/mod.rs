//! What holds on whatever allocator is sampled, against truths that the tests control.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stagelight::{query, stage};
use stagelight_profiler::{Profile, allocs, heap, sample_heap};

use piece::{Piece, Random};
use stagelight_tests::totals::allocated;

mod piece;
mod storms;

/// Average bytes between samples, as the allocator is declared.
const INTERVAL: f64 = (1 << 15) as f64;

/// A test that looks at the process's heap wants no other to change it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allocates for a tenant, keeps a share of it and gives back the rest; some pieces grow in between.
#[query(key = "fill", tenant = tenant)]
fn fill(tenant: &str, bytes: u64, keep: u64, random: &mut Random) -> Vec<Piece> {
    let (mut allocated, mut kept) = (0, Vec::new());
    while allocated < bytes {
        let mut piece = Piece::new(random.size());
        if random.below(8) == 0 {
            piece.resize(piece.size() + piece.size() / 8);
        }
        allocated += piece.size() as u64;
        if random.below(100) < keep {
            kept.push(piece);
        }
    }
    kept
}

fn held(pieces: &[Piece]) -> f64 {
    pieces.iter().map(|piece| piece.size() as f64).sum()
}

/// Each sample stands for an interval or more, and for few of them more than two: three standard errors.
fn is_within(what: &str, estimate: f64, truth: f64) {
    let error = 3.0 / (truth / (2.0 * INTERVAL)).sqrt();
    eprintln!("{what}: {estimate:.0} for {truth:.0}, allowed {:.1} %", 100.0 * error);
    assert!((estimate - truth).abs() <= truth * error, "{what}: {estimate} for {truth}");
}

fn of_tenant(profile: &Profile, tenant: &str) -> f64 {
    profile.filter("tenant", tenant).total() as f64
}

#[test]
fn live_bytes_by_tenant_are_within_sampling_error() {
    let _alone = alone();
    let mut random = Random(42);
    let mut pieces = HashMap::new();
    for (tenant, bytes, keep) in [("half", 64 << 20, 50), ("all", 48 << 20, 100), ("none", 64 << 20, 0)] {
        let kept = std::thread::scope(|scope| {
            // A thread that ends, while its pieces live on.
            scope.spawn(|| fill(tenant, bytes, keep, &mut random)).join().unwrap()
        });
        pieces.insert(tenant, kept);
    }
    let profile = heap().run().unwrap();
    let stats = profile.stats();
    assert_eq!((stats.rung.as_str(), stats.period), (super::NAME, INTERVAL as i64));
    assert!(
        stats.rungs_refused.is_empty() && stats.dropped.iter().all(|(_, count)| *count == 0),
        "{stats:?}"
    );
    let complete = stats.complete_stacks as f64 / stats.samples as f64;
    assert!(complete >= 0.99, "{complete} of the stacks reach their thread's start");
    for tenant in ["half", "all"] {
        is_within(tenant, of_tenant(&profile, tenant), held(&pieces[tenant]));
    }
    assert_eq!(of_tenant(&profile, "none"), 0.0);

    let mut folded = Vec::new();
    profile.filter("tenant", "all").write_folded(&mut folded).unwrap();
    for line in String::from_utf8(folded).unwrap().lines() {
        assert!(line.contains("::fill"), "{line}");
        let leaf = line.rsplit_once(' ').unwrap().0.rsplit(';').next().unwrap();
        let programs = leaf.contains("sampler::") || leaf.contains("RawVec");
        assert!(programs, "the allocator's own frames are trimmed: {line}");
    }
    // What one thread allocated, another frees.
    std::thread::spawn(move || drop(pieces)).join().unwrap();
    let profile = heap().run().unwrap();
    assert_eq!((of_tenant(&profile, "half"), of_tenant(&profile, "all")), (0.0, 0.0));
}

#[test]
fn what_is_resized_is_neither_lost_nor_counted_twice() {
    #[query(key = "resize", tenant = "resizes")]
    fn resize(random: &mut Random) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        for number in 0..2000_u64 {
            let mut grown = Vec::new();
            let length = random.size() as u64;
            grown.extend((0..length).map(|at| (number + at) as u8));
            // By pushes, so that it grew in many steps; then it shrinks.
            for at in length..length + random.below(300) {
                grown.push((number + at) as u8);
            }
            if number % 3 == 0 {
                grown.truncate(grown.len() / 2);
                grown.shrink_to_fit();
            }
            all.push(grown);
        }
        all
    }
    let _alone = alone();
    let all = resize(&mut Random(3));
    let profile = heap().run().unwrap();
    let truth =
        all.iter().map(|grown| grown.capacity()).sum::<usize>() + all.capacity() * size_of::<Vec<u8>>();
    is_within("resized", of_tenant(&profile, "resizes"), truth as f64);
    for (number, grown) in (0..).zip(&all) {
        assert!((0..).zip(grown).all(|(at, &byte)| byte == (number as u64 + at) as u8));
    }
    drop(all);
    assert_eq!(of_tenant(&heap().run().unwrap(), "resizes"), 0.0);
}

#[test]
fn growth_shows_what_came_and_what_went() {
    let _alone = alone();
    let mut random = Random(7);
    let before = fill("shrinks", 32 << 20, 100, &mut random);
    let session = heap().start().unwrap();
    let shrunk = held(&before);
    drop(before);
    let after = fill("grows", 32 << 20, 100, &mut random);
    let profile = session.stop().unwrap();
    is_within("grows", of_tenant(&profile, "grows"), held(&after));
    is_within("shrinks", -of_tenant(&profile, "shrinks"), shrunk);
}

#[test]
fn what_a_window_saw_allocated_counts_what_was_freed_and_no_more() {
    let _alone = alone();
    let mut random = Random(99);
    let early = fill("early", 8 << 20, 100, &mut random);
    let session = allocs().start().unwrap();
    let error = sample_heap(Some(17)).unwrap_err();
    assert!(error.to_string().contains("an allocation profile"), "one rate for all of its time: {error}");
    let paced = |tenant: &str, keep| -> Vec<Piece> {
        let mut random = Random(keep + 1);
        let part = |_| {
            std::thread::sleep(Duration::from_millis(2));
            fill(tenant, 2 << 20, keep, &mut random)
        };
        (0..16).flat_map(part).collect()
    };
    let kept = std::thread::scope(|scope| {
        let freed = scope.spawn(|| drop(paced("freed", 0)));
        let kept = paced("kept", 100);
        freed.join().unwrap();
        kept
    });
    drop(early);
    let profile = session.stop().unwrap();
    drop(fill("late", 8 << 20, 0, &mut random));

    let stats = profile.stats();
    assert_eq!((stats.rung.as_str(), stats.period), (super::NAME, INTERVAL as i64));
    assert!(stats.dropped.iter().all(|(_, count)| *count == 0), "{stats:?}");
    assert_eq!((of_tenant(&profile, "early"), of_tenant(&profile, "late")), (0.0, 0.0));
    for tenant in ["freed", "kept"] {
        is_within(tenant, of_tenant(&profile, tenant), allocated(tenant) as f64);
    }
    drop(kept);
}

#[test]
fn a_stage_knows_its_allocated_bytes_and_c_keeps_its_own() {
    #[stage(name = "alloc.outer")]
    fn outer() {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 16)));
        inner();
    }
    #[stage(name = "alloc.inner")]
    fn inner() {
        let mut grown = std::hint::black_box(Vec::<u8>::with_capacity(1 << 18));
        grown.reserve_exact(1 << 19);
        // What C allocates is C's.
        // SAFETY: the text is null-terminated, and what is allocated is resized and freed once.
        unsafe {
            let copy = libc::strdup(c"what C allocates".as_ptr());
            let copy = libc::realloc(std::hint::black_box(copy).cast(), 1 << 20);
            assert_eq!(std::slice::from_raw_parts(copy.cast::<u8>(), 17), b"what C allocates\0");
            libc::free(copy);
            let page = std::hint::black_box(libc::aligned_alloc(4096, 8192));
            assert!(!page.is_null());
            libc::free(page);
        }
    }
    outer();
    let snapshot = stagelight::snapshot();
    let bytes = |name: &str| snapshot.stage(name).unwrap().alloc_bytes;
    let inner = (1 << 18) + (1 << 19);
    assert_eq!((bytes("alloc.inner"), bytes("alloc.outer")), (inner, inner + (1 << 16)));
}

#[test]
fn ten_thousand_threads_are_each_sampled_by_chances_of_their_own() {
    #[query(key = "thread", tenant = "threads")]
    fn one() -> Piece {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(3000)));
        Piece::new(5000)
    }
    let _alone = alone();
    let mut pieces = Vec::new();
    for _ in 0..200 {
        let threads: Vec<_> = (0..50).map(|_| std::thread::spawn(one)).collect();
        pieces.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
    }
    let profile = heap().run().unwrap();
    is_within("threads", of_tenant(&profile, "threads"), held(&pieces));
    drop(pieces);
    assert_eq!(of_tenant(&heap().run().unwrap(), "threads"), 0.0);
}

#[test]
fn what_is_sampled_is_switched_while_the_program_runs() {
    let _alone = alone();
    let mut random = Random(11);
    let first = fill("first", 16 << 20, 100, &mut random);
    sample_heap(None).unwrap();
    let unseen = fill("unseen", 16 << 20, 100, &mut random);
    let error = allocs().start().unwrap_err();
    assert!(error.to_string().contains("switched off"), "not an empty profile: {error}");
    let profile = heap().run().unwrap();
    is_within("first", of_tenant(&profile, "first"), held(&first));
    assert_eq!(of_tenant(&profile, "unseen"), 0.0);
    let began = profile.stats().started;
    // What was sampled before is recognised all the same.
    drop(first);
    assert_eq!(of_tenant(&heap().run().unwrap(), "first"), 0.0);

    sample_heap(Some(12)).unwrap();
    let finer = fill("finer", 8 << 20, 100, &mut random);
    sample_heap(Some(15)).unwrap();
    let again = fill("again", 16 << 20, 100, &mut random);
    let profile = heap().run().unwrap();
    is_within("finer", of_tenant(&profile, "finer"), held(&finer));
    is_within("again", of_tenant(&profile, "again"), held(&again));
    assert_eq!((profile.stats().started, profile.stats().period), (began, 1 << 15));
    drop(unseen);
}

#[test]
fn the_status_says_what_is_sampled() {
    let server = stagelight_profiler::serve("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/status", server.local_addr());
    let body = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status["heap"]["active"].as_bool(), status["heap"]["how"].as_str()),
        (Some(true), Some(super::NAME))
    );
}
