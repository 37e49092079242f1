//! Wall-clock profiles against truths that the test controls.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use stagelight::{TraceSettings, query, stage};
use stagelight_profiler::{Error, Profile, off_cpu, serve, wall};
use stagelight_tests::cpu::forbid;
use stagelight_tests::totals::total;
use stagelight_tests::{child, is_child, succeed, thread_cpu_ns};

/// One profile runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[stage(name = "wall.rest")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// How long a thread sleeps at a time.
const REST: Duration = Duration::from_millis(21);

/// Sleeps 70 % of the time and works 30 %, by the wall clock, unless it waits for a core. Gives how long it ran, how much of it
/// in the rest, and how much of it on the CPU.
#[query(name = "wall.mixed", key = "mixed", tenant = "acme")]
fn mixed(rounds: u32) -> (u64, u64, u64) {
    let (start, cpu) = (Instant::now(), thread_cpu_ns());
    let mut rested = Duration::ZERO;
    for _ in 0..rounds {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(9) {
            std::hint::black_box(begin);
        }
        let begin = Instant::now();
        rest(REST);
        rested += begin.elapsed();
    }
    (start.elapsed().as_nanos() as u64, rested.as_nanos() as u64, thread_cpu_ns() - cpu)
}

/// The sum of the folded stacks that begin like this, in nanoseconds.
fn below(folded: &str, root: &str) -> f64 {
    let lines = folded.lines().filter(|line| line.starts_with(root));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() * 1e3).sum()
}

#[test]
fn a_thread_that_sleeps_most_of_the_time_shows_so() {
    let _alone = alone();
    let session = wall().hz(200).start().unwrap();
    const ROUNDS: u32 = 100;
    let (truth, rest, cpu) = std::thread::spawn(|| mixed(ROUNDS)).join().unwrap();
    let profile = session.stop().unwrap();
    let of = |label, value| total(&profile, label, value) as f64;
    let all = of("tenant", "acme");
    let rested = of("stage", "wall.rest") / all;
    let mut folded = Vec::new();
    profile.by_label("state").by_label("tenant").write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let waiting = below(&folded, "tenant: acme;state: waiting;") / all;
    let running = below(&folded, "tenant: acme;state: running;") / all;
    eprintln!(
        "{:.3} s of {:.3}; {rested:.3} in the rest, {waiting:.3} waiting, {running:.3} running, CPU {:.3}",
        all / 1e9,
        truth as f64 / 1e9,
        cpu as f64 / truth as f64,
    );
    assert!((all / truth as f64 - 1.0).abs() < 0.1, "{all} of {truth} ns");
    let rest = rest as f64 / truth as f64;
    assert!((rested - rest).abs() < 0.1, "{rested} of the time in the rest, {rest} in truth");
    // Once it is woken, it may wait for a core, which is no waiting of its own.
    let sleeps = (REST * ROUNDS).as_nanos() as f64 / truth as f64;
    assert!((waiting - sleeps).abs() < 0.1, "{waiting} of the time waiting, {sleeps} in truth");
    assert!((waiting + running - 1.0).abs() < 0.01, "each sample knows its state");
    assert!(
        folded
            .lines()
            .any(|line| line.starts_with("tenant: acme;state: waiting;") && line.contains("wall::rest"))
    );
    let stats = profile.stats();
    assert_eq!(stats.rung, "sampler-thread");
    assert!(stats.samples > 200 && stats.complete_stacks as f64 > 0.95 * stats.samples as f64, "{stats:?}");
}

#[test]
fn its_samples_know_path_thread_trace_and_state_and_can_be_cut_and_rendered() {
    let _alone = alone();
    let traces = Some(TraceSettings { head: 1.0, slow: None });
    let collector = stagelight::collector().every(Duration::from_millis(50)).traces(traces).start().unwrap();
    let session = wall().hz(200).start().unwrap();
    let thread = std::thread::Builder::new().name("wall-mixed".into());
    thread
        .spawn(|| {
            for _ in 0..10 {
                mixed(5);
            }
        })
        .unwrap()
        .join()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let profile = session.stop().unwrap();
    collector.stop();
    let own = profile.filter("thread", "wall-mixed").filter("tenant", "acme");
    assert!(!own.is_empty() && own.total() == profile.filter("tenant", "acme").total());
    let resting = own.filter("path", "wall.mixed > wall.rest");
    assert!(
        (0.5..0.9).contains(&(resting.total() as f64 / own.total() as f64)),
        "{:?}",
        own.label_totals("path")
    );
    assert!(total(&resting, "state", "waiting") as f64 > 0.8 * resting.total() as f64);
    let traced = own.label_totals("trace").iter().filter(|(trace, _)| trace.len() == 32).count();
    assert!(traced > 5, "{:?}", own.label_totals("trace"));

    let own = own.by_label("state").by_label("path");
    let written = |write: &dyn Fn(&Profile, &mut Vec<u8>) -> std::io::Result<()>| {
        let mut bytes = Vec::new();
        write(&own, &mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    for text in [
        written(&|profile, out| profile.write_flamegraph(out)),
        written(&|profile, out| profile.write_icicle(out)),
        written(&|profile, out| profile.write_folded(out)),
        written(&|profile, out| profile.write_top(out)),
        written(&|profile, out| profile.write_speedscope(out)),
        written(&|profile, out| profile.write_firefox(out)),
    ] {
        assert!(text.contains("state: waiting") || text.contains("wall::rest"), "{text}");
    }
    let twice = own.merge(&own).unwrap();
    assert_eq!(twice.total(), 2 * own.total());
    let changes = twice.diff(&own).unwrap().changes();
    assert_eq!(changes.total(), own.total());
    assert!(own.diff(&profile).is_err(), "they are cut differently");
}

#[test]
fn many_threads_are_visited_less_often_and_weigh_more() {
    let _alone = alone();
    const THREADS: usize = 150;
    let session = wall().hz(100).start().unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| rest(Duration::from_millis(1500)));
        }
    });
    let elapsed = start.elapsed();
    let profile = session.stop().unwrap();
    let stats = profile.stats();
    // 15,000 a second were asked for.
    assert!((stats.samples as f64) < 3_000.0 * elapsed.as_secs_f64(), "{stats:?}");
    let threads = total(&profile, "stage", "wall.rest") as f64 / 1.5e9;
    eprintln!("{} samples say {threads:.1} of {THREADS} threads", stats.samples);
    assert!((threads / THREADS as f64 - 1.0).abs() < 0.15, "{threads} threads");
}

#[test]
fn it_needs_no_permission_and_late_or_foreign_signals_do_no_harm() {
    let _alone = alone();
    if !is_child() {
        succeed(&mut child("it_needs_no_permission_and_late_or_foreign_signals_do_no_harm"));
        return;
    }
    forbid(&[libc::SYS_perf_event_open, libc::SYS_timer_create]);
    for _ in 0..20 {
        let profile = wall().hz(250).duration(Duration::from_millis(30)).run().unwrap();
        assert!(profile.stats().duration >= Duration::from_millis(30));
    }
    let session = wall().owner("the first").start().unwrap();
    for error in [wall().start().unwrap_err(), off_cpu().start().unwrap_err()] {
        assert!(
            matches!(error, Error::Busy(_)) && error.to_string().contains("a wall-clock profile"),
            "{error}"
        );
    }
    drop(session);
}

#[test]
fn the_control_api_gives_it() {
    let _alone = alone();
    let server = serve("127.0.0.1:0").unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |query: &str| {
        let url = format!("http://{}/debug/pprof/wall?{query}", server.local_addr());
        let mut response = agent.get(url).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    std::thread::scope(|scope| {
        scope.spawn(|| mixed(30));
        let (status, text) = get("seconds=0.5&hz=100&format=folded&by=tenant,state");
        assert!(status == 200 && text.contains("tenant: acme;state: waiting;"), "{status} {text}");
        assert!(text.contains("wall::rest"), "{text}");
    });
    std::thread::scope(|scope| {
        scope.spawn(|| mixed(20));
        let (status, text) = get("seconds=0.4&hz=100&format=folded&by=path&state=waiting&lines=1");
        assert!(status == 200 && text.contains("stage: wall.mixed;stage: wall.rest;"), "{status} {text}");
    });
    let (status, text) = get("hz=1000");
    assert!(status == 400 && text.contains("1 to 250"), "{status} {text}");
}
