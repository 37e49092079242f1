//! What a program does to its allocator at its worst, and what is asked of the heap profiler meanwhile.

use std::hint::black_box;
use std::io::sink;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use stagelight::{query, stage};
use stagelight_profiler::{Error, Profile, allocs, cpu, heap, sample_heap};

use super::hoard::{self, HOARDS};
use super::piece::Piece;
use super::random::Random;
use crate::storms::{STARTED, Storm, fork};

pub(crate) static STORMS: [Storm; 11] = [
    Storm::new("keepers", keepers),
    Storm::new("handed over", hand_over),
    Storm::new("mixed sizes", mixed),
    Storm::new("C's allocator", by_c),
    Storm::new("tenants", tenants),
    Storm::new("switch", switch),
    Storm::new("windows", window),
    Storm::new("heap profiles", profile),
    Storm::new("growths", growth),
    Storm::new("CPU profiles", cpu_profile),
    Storm::new("forks", fork),
];

/// Times that sampling or its rate was switched.
pub(crate) static SWITCHED: AtomicU64 = AtomicU64::new(0);

/// Refusals that are to be expected: another profile runs, or sampling is switched off.
pub(crate) static REFUSED: AtomicU64 = AtomicU64::new(0);

/// What failed that should not have.
pub(crate) static FAILED: AtomicU64 = AtomicU64::new(0);

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Looks at a profile from some sides, or counts why there is none.
fn look_at(profile: Result<Profile, Error>) {
    match profile {
        Ok(profile) => {
            let written = profile
                .write_pprof(sink())
                .and_then(|()| profile.by_label("tenant").write_folded(sink()))
                .is_ok();
            FAILED.fetch_add(u64::from(!written), Ordering::Relaxed);
        }
        Err(Error::Busy(_)) => _ = REFUSED.fetch_add(1, Ordering::Relaxed),
        Err(Error::Unsupported(text)) if text.contains("switched off") => {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => {
            eprintln!("{error}");
            FAILED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Four threads that live for some milliseconds and turn over what the tenants keep.
fn keepers(number: u64) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            STARTED.fetch_add(1, Ordering::Relaxed);
            scope.spawn(move || {
                let mut random = Random::new(number * 4 + thread);
                for _ in 0..20 {
                    HOARDS[random.below(HOARDS.len())].turn_over(&mut random);
                }
            });
        }
    });
    pause(10);
}

/// What one thread allocates and another, which lives long, frees.
fn hand_over(number: u64) {
    static FREER: OnceLock<SyncSender<Vec<Piece>>> = OnceLock::new();
    #[query(key = "hand over", tenant = "giver")]
    fn make(random: &mut Random) -> Vec<Piece> {
        (0..100).map(|_| Piece::new(random.size(4, 16))).collect()
    }
    let freer = FREER.get_or_init(|| {
        let (sender, receiver) = sync_channel(16);
        std::thread::spawn(move || receiver.into_iter().for_each(drop::<Vec<Piece>>));
        sender
    });
    let mut random = Random::new(number);
    FAILED.fetch_add(u64::from(freer.send(make(&mut random)).is_err()), Ordering::Relaxed);
    // And what another thread made, which has ended since.
    STARTED.fetch_add(1, Ordering::Relaxed);
    if let Ok(pieces) = std::thread::spawn(move || make(&mut random)).join() {
        drop(pieces);
    }
    pause(2);
}

/// From 16 bytes to 4 MiB, at several depths and in several stages.
#[stage(name = "soak.mixed")]
fn mixed(number: u64) {
    let mut random = Random::new(number);
    let mut kept = Vec::new();
    for _ in 0..500 {
        kept.push(deep(&mut random, number % 24));
        if kept.len() > 100 {
            let mut piece = kept.swap_remove(random.below(100));
            piece.resize(random.size(4, 18));
        }
    }
    drop(kept);
    drop(black_box(vec![0_u8; random.size(12, 22)]));
    pause(1);
}

#[inline(never)]
fn deep(random: &mut Random, left: u64) -> Piece {
    let piece = if left == 0 { Piece::new(random.size(4, 15)) } else { deep(random, left - 1) };
    black_box(piece)
}

/// As C libraries do, with all that may be aligned.
fn by_c(number: u64) {
    let mut random = Random::new(number);
    for _ in 0..100 {
        let size = random.size(4, 17);
        // SAFETY: what was allocated is freed once, and not used after.
        unsafe {
            let aligned = libc::memalign(1 << (4 + random.below(10)), size);
            let zeroed = libc::calloc(size / 16, 16);
            let grown = libc::realloc(libc::malloc(size), size * 2);
            [aligned, zeroed, grown].into_iter().for_each(|memory| libc::free(black_box(memory)));
        }
    }
    pause(2);
}

/// More tenants than there are entries.
fn tenants(number: u64) {
    #[query(key = "visit", tenant = tenant)]
    fn visit(tenant: &str, random: &mut Random) {
        drop(Piece::new(random.size(4, 18)));
    }
    let mut random = Random::new(number);
    for _ in 0..20 {
        visit(&format!("visitor {}", random.below(20_000)), &mut random);
    }
    pause(5);
}

/// Whether the rate stays as it is from now on.
static SETTLED: Mutex<bool> = Mutex::new(false);

/// Switches sampling off, on, and to other rates.
fn switch(number: u64) {
    const RATES: [Option<u32>; 7] = [None, Some(12), Some(14), Some(16), None, Some(19), Some(24)];
    let mut random = Random::new(number);
    {
        let settled = SETTLED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*settled {
            match sample_heap(RATES[random.below(RATES.len())]) {
                Ok(()) => _ = SWITCHED.fetch_add(1, Ordering::Relaxed),
                // A window is open, or the machine is busy.
                Err(_) => _ = REFUSED.fetch_add(1, Ordering::Relaxed),
            }
        }
    }
    pause(random.below(200) as u64);
}

/// Ends the switching, and has tenants keep only what is sampled at the last rate.
pub(crate) fn settle(lg_sample: u32) -> Result<(), Error> {
    *SETTLED.lock().unwrap_or_else(PoisonError::into_inner) = true;
    let patience = Instant::now() + Duration::from_secs(20);
    while let Err(error) = sample_heap(Some(lg_sample)) {
        if !matches!(error, Error::Busy(_)) || Instant::now() > patience {
            return Err(error);
        }
        pause(1);
    }
    hoard::clear();
    Ok(())
}

fn window(number: u64) {
    match allocs().start() {
        Ok(session) => {
            pause([5, 200, 1, 50][number as usize % 4]);
            if number % 8 == 7 { drop(session) } else { look_at(session.stop()) }
        }
        Err(error) => look_at(Err(error)),
    }
    pause(20);
}

fn profile(number: u64) {
    look_at(heap().run());
    let metrics = stagelight_profiler::heap_metrics(Duration::from_secs(1))
        .is_ok_and(|()| stagelight_profiler::write_metrics(sink()).is_ok());
    FAILED.fetch_add(u64::from(!metrics), Ordering::Relaxed);
    pause(50 << (number % 4));
}

fn growth(number: u64) {
    match heap().start() {
        Ok(session) => {
            pause([10, 500][number as usize % 2]);
            look_at(session.stop());
        }
        Err(error) => look_at(Err(error)),
    }
    pause(100);
}

fn cpu_profile(_: u64) {
    match cpu().hz(999).start() {
        Ok(session) => {
            pause(1000);
            look_at(session.stop());
        }
        Err(error) => look_at(Err(error)),
    }
}
