//! A recursive stage's total time is that of its outermost level.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use stagelight::{QueryContext, StageStats, query, snapshot, stage, stage_block};

const LEVELS: u32 = 10;
const WAIT: Duration = Duration::from_millis(50);

fn of(name: &str) -> StageStats {
    snapshot().stage(name).unwrap_or_else(|| panic!("{name} was entered")).clone()
}

fn wall(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

/// The total is the time that the recursion took, and each level is a call with a duration of its
/// own.
fn check(name: &str, calls: u64, wall: f64) {
    let stage = of(name);
    let total = stage.total_ns as f64 / wall;
    assert!((0.9..=1.0).contains(&total), "{name}: {total} of the time that passed");
    let own = (stage.self_ns + stage.awaiting_ns) as f64;
    assert!(own <= stage.total_ns as f64 * 1.001, "{name}: {own} of {}", stage.total_ns);
    assert_eq!((stage.calls, stage.histogram.weight()), (calls, calls), "{name}");
    // Each level took at least as long as the wait.
    let all = (stage.total_ns + stage.recursive_ns) as f64;
    assert!(all >= WAIT.as_nanos() as f64 * calls as f64, "{name}: {all}");
    assert!(stage.histogram.quantile(0.01) as f64 >= WAIT.as_nanos() as f64 * 0.98, "{name}");
}

#[test]
fn ten_levels_around_a_sleep_take_as_long_as_the_sleep() {
    #[stage(name = "recursion.plain")]
    fn plain(level: u32) {
        let kept = vec![0_u8; 1000];
        if level > 1 {
            plain(level - 1)
        } else {
            std::thread::sleep(WAIT)
        }
        drop(std::hint::black_box(kept));
    }
    let wall = wall(|| plain(LEVELS));
    check("recursion.plain", u64::from(LEVELS), wall);
    let stage = of("recursion.plain");
    assert_eq!(stage.self_ns, stage.total_ns, "all of it is in the stage itself");
}

#[test]
fn stages_between_the_levels_change_nothing() {
    #[stage(name = "recursion.even")]
    fn even(level: u32) {
        if level > 1 { odd(level - 1) } else { std::thread::sleep(WAIT) }
    }
    #[stage(name = "recursion.odd")]
    fn odd(level: u32) {
        if level > 1 { even(level - 1) } else { std::thread::sleep(WAIT) }
    }
    let wall = wall(|| even(LEVELS));
    for name in ["recursion.even", "recursion.odd"] {
        check(name, u64::from(LEVELS / 2), wall);
    }
}

#[test]
fn call_sites_of_one_name_are_one_stage() {
    fn work(level: u32) {
        match level {
            1 => std::thread::sleep(WAIT),
            level if level.is_multiple_of(2) => stage_block!("recursion.sites", { work(level - 1) }),
            level => stage_block!("recursion.sites", { work(level - 1) }),
        }
    }
    let wall = wall(|| work(LEVELS + 1));
    check("recursion.sites", u64::from(LEVELS), wall);
}

#[test]
fn a_recursive_query_is_recursive_as_a_stage() {
    #[query(name = "recursion.query", key = "recursion")]
    fn run(level: u32) {
        if level > 1 { run(level - 1) } else { std::thread::sleep(WAIT) }
    }
    let wall = wall(|| run(LEVELS));
    check("recursion.query", u64::from(LEVELS), wall);
    let snapshot = snapshot();
    let statement = snapshot.statements.iter().find(|s| s.value == "recursion").unwrap();
    assert!(statement.self_ns as f64 <= wall && statement.calls == u64::from(LEVELS));
}

#[test]
fn deeper_than_the_path_it_is_the_same() {
    #[stage(name = "recursion.above")]
    fn above(level: u32) {
        if level > 1 { above(level - 1) } else { deep(LEVELS) }
    }
    #[stage(name = "recursion.deep")]
    fn deep(level: u32) {
        if level > 1 { deep(level - 1) } else { std::thread::sleep(WAIT) }
    }
    // Twice, since what the first leaves behind must not count for the second.
    let mut walls = 0.0;
    for _ in 0..2 {
        walls += wall(|| above(100));
    }
    check("recursion.deep", 2 * u64::from(LEVELS), walls);
    check("recursion.above", 200, walls);
}

#[test]
fn a_panic_leaves_no_level_behind() {
    #[stage(name = "recursion.panics")]
    fn panics(level: u32) {
        match level {
            1 => {
                std::thread::sleep(WAIT);
                std::panic::resume_unwind(Box::new("of the test"));
            }
            level => panics(level - 1),
        }
    }
    let mut walls = 0.0;
    for _ in 0..2 {
        walls += wall(|| assert!(catch_unwind(AssertUnwindSafe(|| panics(LEVELS))).is_err()));
    }
    check("recursion.panics", 2 * u64::from(LEVELS), walls);
    assert_eq!(of("recursion.panics").panics, 2 * u64::from(LEVELS));
}

#[test]
fn levels_that_are_polled_within_each_other_count_once() {
    #[stage(name = "recursion.async")]
    async fn levels(level: u32) {
        if level > 1 { Box::pin(levels(level - 1)).await } else { tokio::time::sleep(WAIT).await }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let wall = wall(|| runtime.block_on(levels(LEVELS)));
    check("recursion.async", u64::from(LEVELS), wall);
    let stage = of("recursion.async");
    assert!(stage.awaiting_ns as f64 >= WAIT.as_nanos() as f64 * 0.9, "{}", stage.awaiting_ns);
}

#[test]
fn what_runs_side_by_side_counts_each() {
    #[stage(name = "recursion.beside")]
    fn beside(work: impl FnOnce()) {
        work();
    }
    let wall = wall(|| {
        beside(|| {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| beside(|| std::thread::sleep(WAIT)));
                }
            });
        });
    });
    let stage = of("recursion.beside");
    assert_eq!((stage.calls, stage.recursive_ns), (3, 0));
    assert!(stage.total_ns as f64 >= 3.0 * WAIT.as_nanos() as f64 && stage.total_ns as f64 <= 3.0 * wall);
}

/// A pool's thread has the path of the work's origin, whose stages run on another thread.
#[test]
fn what_is_carried_to_a_pool_counts_each() {
    #[stage(name = "recursion.carried")]
    fn carried(work: impl FnOnce()) {
        work();
    }
    carried(|| {
        let context = QueryContext::current();
        std::thread::spawn(move || {
            carried(|| ());
            // In the same place as the one that is carried.
            context.run(|| carried(|| carried(|| std::thread::sleep(WAIT))));
        })
        .join()
        .unwrap();
        // And on the thread itself it is within itself.
        context.run(|| carried(|| std::thread::sleep(WAIT)));
    });
    let stage = of("recursion.carried");
    assert_eq!(stage.calls, 5);
    // Three waits in outermost calls, of which two once more in inner ones.
    assert!(stage.total_ns as f64 >= 3.0 * WAIT.as_nanos() as f64, "{}", stage.total_ns);
    let inner = stage.recursive_ns as f64 / stage.total_ns as f64;
    assert!((0.45..0.85).contains(&inner), "{inner}");
}
