//! Work that a query hands over to a pool: what is recorded there belongs to the query and goes on from its stages.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use stagelight::{InQuery as _, QueryContext, query, stage};
use stagelight_profiler::{Profile, allocs, cpu, lock, locks};
use stagelight_tests::burn;
use stagelight_tests::totals::total;

stagelight_profiler::heap_profiler!(lg_sample = 12);

/// A job and what it is done for, as an engine's own queue holds them.
struct Job {
    context: QueryContext,
    work: Box<dyn FnOnce() + Send>,
    /// Told once the thread has left what the job was done for.
    done: mpsc::Sender<()>,
}

/// A thread that takes jobs from a queue.
struct Pool {
    jobs: mpsc::Sender<Job>,
}

impl Pool {
    fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for job in queue {
                let attached = job.context.attach();
                (job.work)();
                drop(attached);
                job.done.send(()).unwrap();
            }
        });
        Self { jobs }
    }

    /// Hands work over, and waits for it.
    fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let (give, result) = mpsc::channel();
        let (done, wait) = mpsc::channel();
        let work = Box::new(move || give.send(work()).unwrap());
        self.jobs.send(Job { context: QueryContext::current(), work, done }).unwrap();
        wait.recv().unwrap();
        result.recv().unwrap()
    }
}

#[query(name = "pool.query", key = "pool", tenant = "pooled")]
#[inline(never)]
fn execute<R: Send + 'static>(pool: &Pool, work: impl FnOnce() -> R + Send + 'static) -> R {
    plan(pool, work)
}

#[stage(name = "pool.plan")]
#[inline(never)]
fn plan<R: Send + 'static>(pool: &Pool, work: impl FnOnce() -> R + Send + 'static) -> R {
    pool.run(|| scan(work))
}

#[stage(name = "pool.scan")]
#[inline(never)]
fn scan<R>(work: impl FnOnce() -> R) -> R {
    work()
}

const PATH: &str = "pool.query > pool.plan > pool.scan";

/// One profile of a kind runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folded(profile: &Profile) -> String {
    let mut text = Vec::new();
    profile.write_folded(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// All of the tenant's samples have the whole path.
fn assert_whole_path(profile: &Profile) {
    let all = total(profile, "tenant", "pooled");
    let whole = total(profile, "path", PATH);
    let of_pool = profile.filter("tenant", "pooled").label_totals("path");
    assert!(all > 0 && whole as f64 >= 0.9 * all as f64, "{of_pool:?}");
}

/// The path of the calling thread in the activity, and whether it says since when the query runs.
fn active() -> (Vec<&'static str>, bool) {
    // SAFETY: the call only tells the thread's id.
    let own = unsafe { libc::gettid() } as u32;
    let active = stagelight::active().into_iter().find(|active| active.thread == own).unwrap();
    (active.path, active.running.is_some())
}

#[test]
fn the_activity_shows_a_pool_s_thread_in_the_whole_path() {
    let pool = Pool::new();
    let (path, timed) = execute(&pool, active);
    assert_eq!(path.join(" > "), PATH);
    assert!(timed, "it runs as long as its query does");
    // The thread is in none of it afterwards.
    let free = pool.run(stagelight::__private::current);
    assert_eq!(free, (0, 0));
}

#[test]
fn tasks_and_blocking_calls_go_on_from_the_query_s_path() {
    #[query(name = "pool.async", key = "async pool", tenant = "async pool")]
    async fn fan_out() -> [Vec<&'static str>; 3] {
        let context = QueryContext::current();
        let task = tokio::spawn(async { scan(|| active().0) }.in_query(context));
        let blocking = tokio::task::spawn_blocking(context.wrap(|| scan(|| active().0)));
        [task.await.unwrap(), blocking.await.unwrap(), scan(|| active().0)]
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    assert_eq!(runtime.block_on(fan_out()), [["pool.async", "pool.scan"]; 3]);
}

#[test]
fn rows_that_a_pool_reports_are_the_query_s() {
    #[query(name = "pool.rows", key = "pool rows", tenant = "pool rows")]
    fn rows(pool: &Pool) {
        stagelight::rows(1);
        pool.run(|| stagelight::rows(4));
    }
    let pool = Pool::new();
    rows(&pool);
    rows(&pool);
    let snapshot = stagelight::snapshot();
    let statement = snapshot.statements.iter().find(|statement| statement.value == "pool rows").unwrap();
    assert_eq!((statement.calls, statement.rows), (2, 10));
}

#[test]
fn cpu_samples_have_the_whole_path_and_go_on_from_the_stage() {
    let _alone = alone();
    let pool = Pool::new();
    let session = cpu().hz(250).start().unwrap();
    execute(&pool, || burn(400_000_000));
    // The same on one thread, where the stages' functions are in the stack.
    #[query(name = "pool.query", key = "direct", tenant = "direct")]
    #[inline(never)]
    fn direct() {
        scan(|| burn(400_000_000));
    }
    direct();
    let profile = session.stop().unwrap();
    assert_whole_path(&profile);

    let text = folded(&profile.by_label("path").by_label("tenant"));
    let lines = |tenant: &str| {
        let root = format!("tenant: {tenant};stage: pool.query;");
        let lines: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix(&root)).map(str::to_owned).collect();
        assert!(!lines.is_empty(), "{text}");
        lines
    };
    for (tenant, path) in [("pooled", "stage: pool.plan;stage: pool.scan;"), ("direct", "stage: pool.scan;")]
    {
        let within = lines(tenant);
        let within: Vec<&str> = within.iter().filter_map(|line| line.strip_prefix(path)).collect();
        let seen: Vec<&&str> = within.iter().filter(|line| !line.starts_with("[kernel")).collect();
        assert!(!seen.is_empty(), "{text}");
        for line in seen {
            assert!(line.starts_with("pools::scan"), "{tenant} goes on elsewhere: {line}");
        }
    }
    // Other roots leave the stack whole.
    assert!(folded(&profile.by_label("stage")).contains("thread_start"));
    let total: i64 = profile.by_label("path").label_totals("tenant").iter().map(|(_, total)| total).sum();
    assert_eq!(total, profile.total());
}

#[test]
fn waits_for_locks_and_who_held_them_have_the_whole_path() {
    static LOCK: lock::Mutex<()> = lock::Mutex::new(());

    let _alone = alone();
    let pools = [(); 2].map(|()| Pool::new());
    let session = locks().start().unwrap();
    std::thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| {
                for _ in 0..20 {
                    execute(pool, || {
                        let _held = LOCK.lock();
                        std::thread::sleep(Duration::from_millis(2));
                    });
                }
            });
        }
    });
    let profiles = session.stop().unwrap();
    assert_whole_path(&profiles.block);
    assert_whole_path(&profiles.mutex);
    let all = profiles.block.total() as u64;
    assert!(total(&profiles.block, "holder_stage", "pool.scan") as f64 >= 0.9 * all as f64);
    let text = folded(&profiles.block.by_label("path"));
    assert!(text.contains("stage: pool.plan;stage: pool.scan;pools::scan"), "{text}");
}

#[test]
fn what_a_pool_allocates_is_the_stage_s_that_handed_it_over() {
    let _alone = alone();
    // Without a stage of its own the work is that of the one that led to it.
    #[query(name = "pool.heap", key = "pool heap", tenant = "pool heap")]
    fn fill(pool: &Pool) {
        pool.run(|| {
            for _ in 0..2_000 {
                std::hint::black_box(vec![0_u8; 8 << 10]);
            }
        });
    }
    let pool = Pool::new();
    let session = allocs().start().unwrap();
    fill(&pool);
    let profile = session.stop().unwrap();
    let (tenant, stage) = (total(&profile, "tenant", "pool heap"), total(&profile, "stage", "pool.heap"));
    assert!(tenant > 8 << 20 && stage == tenant, "{stage} of {tenant}");
}

#[test]
fn a_query_that_begins_in_a_pool_leaves_the_same_trace_whatever_stages_led_to_it() {
    #[query(name = "pool.traced", key = statement)]
    fn traced(statement: &'static str) {
        scan(|| scan(|| ()));
    }
    #[stage(name = "pool.request")]
    fn request(pool: &Pool, statement: &'static str) {
        pool.run(move || traced(statement));
    }
    let settings = stagelight::TraceSettings { head: 1.0, slow: None };
    let collector =
        stagelight::collector().every(Duration::from_millis(20)).traces(Some(settings)).start().unwrap();
    let pool = Pool::new();
    pool.run(|| traced("pool direct"));
    request(&pool, "pool below");
    let tree = |statement: &str| -> Vec<(&'static str, Option<usize>)> {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            let traces = stagelight::recent_traces();
            if let Some(trace) = traces.iter().find(|trace| trace.labels[0] == statement) {
                let place = |id| trace.spans.iter().position(|span| Some(span.id) == id);
                return trace.spans.iter().map(|span| (span.name, place(span.parent))).collect();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{statement} left no trace");
    };
    let expected = [("pool.traced", None), ("pool.scan", Some(0)), ("pool.scan", Some(1))];
    assert_eq!(tree("pool direct"), expected);
    assert_eq!(tree("pool below"), expected);
    drop(collector);
}
