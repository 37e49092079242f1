//! What threads do, against truths that the test controls.
#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use stagelight::{ActiveHistory, ThreadState, query, sync};
use stagelight_tests::{burn, thread_cpu_ns, until_asleep};

/// The threads of one test are not the other's.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[query(name = "activity.query", key = "activity", tenant = tenant)]
fn within(tenant: &str, work: impl FnOnce()) {
    work();
}

/// Looks at all threads for a time, and says how many looks that were.
fn look(history: &mut ActiveHistory, time: Duration) -> usize {
    let end = Instant::now() + time;
    let mut looks = 0;
    while Instant::now() < end {
        history.look();
        looks += 1;
        std::thread::sleep(Duration::from_millis(9));
    }
    looks
}

/// Threads by state: of a tenant's queries, or outside of stages.
fn states(history: &ActiveHistory, tenant: Option<&str>) -> HashMap<ThreadState, f64> {
    let mut sums = HashMap::new();
    for average in history.averages(Duration::from_secs(3600)).0 {
        if tenant.map_or(average.stage.is_empty(), |tenant| average.labels[1] == tenant) {
            *sums.entry(average.state).or_insert(0.0) += average.average;
        }
    }
    sums
}

fn of(states: &HashMap<ThreadState, f64>, state: ThreadState) -> f64 {
    states.get(&state).copied().unwrap_or(0.0)
}

/// The CPU time of the process in nanoseconds.
fn process_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[test]
fn what_a_thread_waits_for_is_told_in_queries_and_outside() {
    let _alone = alone();
    let (plain, told, readers) = (Mutex::new(()), sync::Mutex::new(()), std::sync::RwLock::new(()));
    let (ready, done) = (Condvar::new(), Mutex::new(false));
    let (sender, receiver) = mpsc::channel::<()>();
    let (read, end_read) = std::io::pipe().unwrap();
    let (polled, end_polled) = std::io::pipe().unwrap();
    let end = AtomicBool::new(false);
    let tenants = [
        ("mutex", ThreadState::Lock),
        ("told", ThreadState::Lock),
        ("readers", ThreadState::Lock),
        ("channel", ThreadState::Condition),
        ("condvar", ThreadState::Condition),
        ("pipe", ThreadState::Io),
        ("poll", ThreadState::Io),
        ("sleep", ThreadState::Sleep),
    ];
    let mut history = ActiveHistory::new(Duration::from_secs(3600));
    std::thread::scope(|scope| {
        let held = (plain.lock().unwrap(), told.lock().unwrap(), readers.write().unwrap());
        until_asleep(scope, || within("mutex", || drop(plain.lock().unwrap())));
        until_asleep(scope, || within("told", || drop(told.lock().unwrap())));
        until_asleep(scope, || within("readers", || drop(readers.read().unwrap())));
        until_asleep(scope, move || within("channel", || _ = receiver.recv()));
        until_asleep(scope, || {
            within("condvar", || drop(ready.wait_while(done.lock().unwrap(), |done| !*done).unwrap()));
        });
        until_asleep(scope, || within("pipe", || _ = (&read).read(&mut [0]).unwrap()));
        until_asleep(scope, || {
            within("poll", || {
                let mut polled = libc::pollfd { fd: polled.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one descriptor, and a place of ours.
                unsafe { libc::poll(&raw mut polled, 1, -1) };
            });
        });
        until_asleep(scope, || {
            within("sleep", || {
                while !end.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
        });
        // Outside of queries.
        for _ in 0..2 {
            until_asleep(scope, || {
                while !end.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
        }
        look(&mut history, Duration::from_secs(1));
        end.store(true, Ordering::Relaxed);
        *done.lock().unwrap() = true;
        ready.notify_all();
        drop((held, sender, end_read, end_polled));
    });
    for (tenant, state) in tenants {
        let states = states(&history, Some(tenant));
        let all: f64 = states.values().sum();
        assert!((all - 1.0).abs() < 0.1, "{tenant}: {states:?}");
        assert!(of(&states, state) > 0.95 * all, "{tenant}: {states:?}");
    }
    // The two, the test itself, and those of the harness.
    let outside = states(&history, None);
    assert!(of(&outside, ThreadState::Sleep) > 1.8, "{outside:?}");
    let everything = history.averages(Duration::from_secs(3600)).0;
    assert!(everything.iter().all(|average| average.state != ThreadState::Unknown), "{everything:?}");
}

/// Waits for a core by `/proc/self/task/TID/schedstat`, in nanoseconds.
fn waited_for_a_core(tid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).unwrap();
    text.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn running_is_what_the_cpu_clock_says_and_the_rest_waits_for_a_core() {
    let _alone = alone();
    let mut history = ActiveHistory::new(Duration::from_secs(3600));
    let end = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().unwrap().get() + 1;
    let ids: Vec<AtomicI32> = (0..threads).map(|_| AtomicI32::new(0)).collect();
    let in_queries = AtomicU64::new(0);
    let (looks, elapsed, cpu, waited) = std::thread::scope(|scope| {
        for id in &ids {
            let (end, in_queries) = (&end, &in_queries);
            scope.spawn(move || {
                // SAFETY: gettid has no preconditions.
                id.store(unsafe { libc::gettid() }, Ordering::Relaxed);
                within("burn", || {
                    while !end.load(Ordering::Relaxed) {
                        let start = thread_cpu_ns();
                        burn(1_000_000);
                        in_queries.fetch_add(thread_cpu_ns() - start, Ordering::Relaxed);
                    }
                });
            });
        }
        while ids.iter().any(|id| id.load(Ordering::Relaxed) == 0) {
            std::thread::yield_now();
        }
        let tids: Vec<i32> = ids.iter().map(|id| id.load(Ordering::Relaxed)).collect();
        let waited = || tids.iter().map(|tid| waited_for_a_core(*tid)).sum::<u64>();
        let (start, cpu, before) = (Instant::now(), in_queries.load(Ordering::Relaxed), waited());
        let looks = look(&mut history, Duration::from_secs(3));
        let elapsed = start.elapsed().as_nanos() as f64;
        let cpu = in_queries.load(Ordering::Relaxed) - cpu;
        let waited = waited() - before;
        end.store(true, Ordering::Relaxed);
        (looks, elapsed, cpu as f64 / elapsed, waited as f64 / elapsed)
    });
    let states = states(&history, Some("burn"));
    eprintln!("{looks} looks in {elapsed} ns: {states:?}; {cpu:.3} on a core, {waited:.3} waited for one");
    let running = of(&states, ThreadState::Running);
    // And as much as one look or two at each thread stand for.
    let allowed = 0.05 * cpu + 2.0 * threads as f64 / looks as f64;
    assert!((running - cpu).abs() < allowed, "{running} running, {cpu} by the CPU clocks");
    let all: f64 = states.values().sum();
    assert!((all / threads as f64 - 1.0).abs() < 0.1, "{all} of {threads} threads");
    let runnable = of(&states, ThreadState::Runnable);
    assert!(runnable + running > 0.9 * all, "{states:?}");
    assert!((runnable - waited).abs() < 0.15 * all, "{runnable} runnable, {waited} by the scheduler");
}

/// How long the calling thread did something, and how much of that it slept: it neither ran nor waited
/// for a core.
fn slept(work: impl FnOnce()) -> [u64; 2] {
    // SAFETY: gettid has no preconditions.
    let own = unsafe { libc::gettid() };
    let stand = || (Instant::now(), thread_cpu_ns() + waited_for_a_core(own));
    let (start, active) = stand();
    work();
    let (end, still) = stand();
    let all = (end - start).as_nanos() as u64;
    [all, all.saturating_sub(still - active)]
}

/// A query that is short and has ended by the next look: its thread is in and out of it, and works and
/// rests in both.
#[test]
fn short_queries_and_what_is_between_them_add_up() {
    let _alone = alone();
    let mut history = ActiveHistory::new(Duration::from_secs(3600));
    let end = AtomicBool::new(false);
    let (inside, outside, cpu, looks) = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let (mut inside, mut outside) = ([0_u64; 2], [0_u64; 2]);
            let rest = |ms| std::thread::sleep(Duration::from_millis(ms));
            let add =
                |sums: &mut [u64; 2], times: [u64; 2]| (0..2).for_each(|part| sums[part] += times[part]);
            while !end.load(Ordering::Relaxed) {
                let mut times = [0; 2];
                let all = slept(|| {
                    within("short", || {
                        times = slept(|| {
                            burn(2_000_000);
                            rest(4);
                        });
                    });
                    burn(1_000_000);
                    rest(5);
                });
                add(&mut inside, times);
                add(&mut outside, [all[0] - times[0], all[1].saturating_sub(times[1])]);
            }
            (inside, outside)
        });
        let (start, cpu) = (Instant::now(), process_cpu_ns());
        let looks = look(&mut history, Duration::from_secs(4));
        let (elapsed, cpu) = (start.elapsed().as_nanos() as f64, process_cpu_ns() - cpu);
        end.store(true, Ordering::Relaxed);
        let (inside, outside) = worker.join().unwrap();
        (inside, outside, cpu as f64 / elapsed, looks)
    });
    let whole = (inside[0] + outside[0]) as f64;
    let [share, asleep] = inside.map(|ns| ns as f64 / whole);
    let (within, without) = (states(&history, Some("short")), states(&history, None));
    eprintln!("{share:.3} of the time in queries, {asleep:.3} asleep in them, {cpu:.3} of a core");
    eprintln!("{looks} looks; in queries {within:?}, outside {without:?}");
    let running = of(&within, ThreadState::Running) + of(&without, ThreadState::Running);
    let allowed = 0.05 * cpu + 4.0 / looks as f64;
    assert!((running - cpu).abs() < allowed, "{running} running, {cpu} by the CPU clock");
    // Looks are few hundred: by chance alone they are off by some hundredths.
    let all: f64 = within.values().sum();
    assert!((all - share).abs() < 0.1, "{all} of the time in queries, {share} in truth");
    let found = of(&within, ThreadState::Sleep);
    assert!((found - asleep).abs() < 0.1, "{found} of the time asleep in queries, {asleep} in truth");
}
