//! Threads that come and go by the hundred thousand, in a process of their own, since the figures are those of all of it.

use std::time::{Duration, Instant};

use stagelight::{query, snapshot, stage};

#[stage(name = "churn.stage")]
fn work(fail: bool) -> Result<(), ()> {
    if fail { Err(()) } else { Ok(()) }
}

#[query(name = "churn.query", key = "churn", tenant = tenant)]
fn ask(tenant: u32) {
    // Half of the calls fail.
    let _ = work(tenant.is_multiple_of(2));
}

/// Memory of this process that exists, in bytes; 0 where the system doesn't say.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[test]
fn two_hundred_thousand_short_threads_leave_exact_totals_and_flat_memory() {
    const THREADS: u32 = 200_000;
    const AT_ONCE: u32 = 20;
    /// After so many threads all that grows with the number of threads at once has grown.
    const WARM: u32 = 20_000;

    let mut warm = None;
    for first in (0..THREADS).step_by(AT_ONCE as usize) {
        std::thread::scope(|scope| {
            for thread in first..first + AT_ONCE {
                scope.spawn(move || ask(thread % 10));
            }
        });
        if first + AT_ONCE == WARM {
            warm = Some((snapshot().recorder, resident()));
        }
    }
    let (warm, warm_resident) = warm.unwrap();
    let snapshot = snapshot();
    let threads = u64::from(THREADS);

    let stage = snapshot.stage("churn.stage").unwrap();
    assert_eq!((stage.calls, stage.timed, stage.errors, stage.panics), (threads, threads, threads / 2, 0));
    assert_eq!(stage.histogram.count(), threads);
    let query = snapshot.stage("churn.query").unwrap();
    assert_eq!((query.calls, query.total_ns), (threads, query.self_ns + stage.total_ns));
    let statement = &snapshot.statements[0];
    assert_eq!(
        (statement.value.as_str(), statement.calls, statement.stages),
        ("churn", threads, 2 * threads)
    );
    assert_eq!(snapshot.tenants.len(), 10);
    assert!(snapshot.tenants.iter().all(|tenant| tenant.calls == threads / 10));

    let recorder = &snapshot.recorder;
    assert!(recorder.refused.iter().all(|&(_, count)| count == 0), "{:?}", recorder.refused);
    // A scope waits for what its threads do, not for their last destructors.
    let patience = Instant::now() + Duration::from_secs(10);
    while stagelight::snapshot().recorder.threads > 0 {
        assert!(Instant::now() < patience, "all threads gave their blocks back");
        std::thread::yield_now();
    }
    // One block for each thread that was there at once, at most; in scheduling's worst case some come late.
    assert!(recorder.blocks <= AT_ONCE as usize, "{}", recorder.blocks);
    // A block takes a line of cells for each half of a power of two that it sees: at most all of them, for two stages and
    // ten label sets, and no more however many threads use it.
    let growth = recorder.bytes.abs_diff(warm.bytes);
    assert!(growth < recorder.blocks * 64 * 1024, "{} bytes, {} when warm", recorder.bytes, warm.bytes);
    let resident_growth = resident().saturating_sub(warm_resident);
    assert!(resident_growth < 4 << 20, "{resident_growth} bytes more than when warm");
}
