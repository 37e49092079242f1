//! Snapshots of a hundred stages on many threads: what one takes, and whether it ever says what can't be.
//!
//! The truth is kept beside the recorder: each thread counts a call of a stage before it makes it, so what a snapshot
//! shows must not be above the truth read after it, nor below the truth read before it but for the one call that each
//! thread may be in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stagelight::{Snapshot, StageStats};

use crate::body::in_query;
use crate::crew::Crew;
use crate::hundred::{HUNDRED, PREFIX, STAGES};
use stagelight_benches::harness::Series;

const ROUNDS: usize = 25;

/// For how long snapshots are taken while all threads record.
const MEANWHILE: Duration = Duration::from_secs(2);

/// Milliseconds a snapshot takes while nobody records.
pub fn times() -> Series {
    let figures = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        std::hint::black_box(stagelight::snapshot());
        start.elapsed().as_secs_f64() * 1e3
    });
    Series::new(figures.collect())
}

/// The stages that contradict the truth or themselves, over all snapshots of a while in which all threads record.
pub fn contradictions(crew: &Crew) -> f64 {
    let base = calls(&stagelight::snapshot());
    let truth: Arc<Vec<[AtomicU64; STAGES]>> =
        Arc::new((0..crew.len()).map(|_| [const { AtomicU64::new(0) }; STAGES]).collect());
    let stop = Arc::new(AtomicBool::new(false));

    crew.start({
        let (truth, stop) = (truth.clone(), stop.clone());
        move |thread| {
            in_query(|| {
                while !stop.load(Ordering::Relaxed) {
                    for (count, stage) in truth[thread].iter().zip(&HUNDRED) {
                        count.store(count.load(Ordering::Relaxed) + 1, Ordering::SeqCst);
                        stage(0);
                    }
                }
            });
        }
    });
    let (mut wrong, mut taken) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < MEANWHILE {
        let before = sums(&truth);
        let snapshot = stagelight::snapshot();
        let after = sums(&truth);
        taken += 1;
        wrong += hundred(&snapshot).filter(|stage| !agrees(stage)).count();
        let calls = calls(&snapshot);
        for (index, (name, base)) in base.iter().enumerate() {
            let made = calls.get(name).copied().unwrap_or(0).wrapping_sub(*base);
            let least = before[index].saturating_sub(crew.len() as u64);
            wrong += usize::from(!(least..=after[index]).contains(&made));
        }
    }
    stop.store(true, Ordering::Relaxed);
    crew.wait();
    // And nothing was lost.
    let last = calls(&stagelight::snapshot());
    let lost = base.iter().zip(sums(&truth)).filter(|((name, base), made)| last[*name] - **base != *made);
    wrong += lost.count();
    eprintln!("  {taken} snapshots taken meanwhile");
    wrong as f64
}

/// Whether a stage's histogram and its count say the same.
fn agrees(stage: &StageStats) -> bool {
    stage.histogram.count() == stage.calls
}

fn hundred(snapshot: &Snapshot) -> impl Iterator<Item = &StageStats> {
    snapshot.stages.iter().filter(|stage| stage.name.starts_with(PREFIX))
}

/// Calls by name: in the order of [`HUNDRED`], whose names sort as they stand.
fn calls(snapshot: &Snapshot) -> BTreeMap<&'static str, u64> {
    hundred(snapshot).map(|stage| (stage.name, stage.calls)).collect()
}

fn sums(truth: &[[AtomicU64; STAGES]]) -> Vec<u64> {
    (0..STAGES).map(|stage| truth.iter().map(|thread| thread[stage].load(Ordering::SeqCst)).sum()).collect()
}
