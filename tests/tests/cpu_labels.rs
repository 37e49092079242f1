//! What a CPU sample knows: its stages from the outermost in, its thread, and its query's trace, against a truth that the test
//! controls.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::time::Duration;

use stagelight::{TraceSettings, query, stage};
use stagelight_profiler::{Profile, cpu};
use stagelight_tests::{burn, child, is_child, succeed, thread_cpu_ns};

#[query(name = "labels.query", key = "labels", tenant = tenant)]
fn ask(tenant: &str, ns: u64) {
    outer(ns);
}

#[stage(name = "labels.outer")]
fn outer(ns: u64) {
    inner(ns / 2);
    burn(ns / 2);
}

#[stage(name = "labels.inner")]
fn inner(ns: u64) {
    burn(ns);
}

/// Burns some milliseconds a query until that much CPU time is used, however busy the machine is;
/// what it took.
fn work(tenant: &str, time: Duration) -> u64 {
    let cpu = thread_cpu_ns();
    while u128::from(thread_cpu_ns() - cpu) < time.as_nanos() {
        ask(tenant, 6_400_000);
    }
    thread_cpu_ns() - cpu
}

fn share(profile: &Profile, label: &str, value: &str) -> f64 {
    profile.filter(label, value).total() as f64 / profile.total() as f64
}

#[test]
fn samples_know_their_path_their_thread_and_their_trace() {
    if !is_child() {
        for rung in ["auto", "ctimer"] {
            let mut child = child("samples_know_their_path_their_thread_and_their_trace");
            succeed(child.env("STAGELIGHT_CPU_RUNG", rung));
        }
        return;
    }
    let traces = Some(TraceSettings { head: 1.0, slow: None });
    let collector = stagelight::collector().every(Duration::from_millis(50)).traces(traces).start().unwrap();
    let session = cpu().hz(499).start().unwrap();
    let cpu: Vec<u64> = std::thread::scope(|scope| {
        let threads = ["left", "right"].map(|name| {
            let work = move || work(name, Duration::from_secs(1));
            std::thread::Builder::new().name(format!("burn-{name}")).spawn_scoped(scope, work).unwrap()
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    std::thread::sleep(Duration::from_millis(200));
    let profile = session.stop().unwrap();
    let whole = profile.filter("statement", "labels");
    let truth = cpu.iter().sum::<u64>() as f64;
    let all = whole.total() as f64 / truth;
    assert!((0.9..1.1).contains(&all), "{all} of the CPU time is the query's");

    // Three standard errors of a half, and what a busy machine adds.
    let allowed = 1.5 / (whole.stats().samples as f64).sqrt() + 0.05;
    for path in ["labels.query > labels.outer", "labels.query > labels.outer > labels.inner"] {
        let share = share(&whole, "path", path);
        assert!((share - 0.5).abs() < allowed, "{path} {share}");
    }
    for (name, cpu) in ["left", "right"].into_iter().zip(cpu) {
        let (found, truth) = (share(&whole, "thread", &format!("burn-{name}")), cpu as f64 / truth);
        assert!((found - truth).abs() < allowed, "{name} {found} {truth}");
        // A thread works for its tenant alone.
        let other = if name == "left" { "right" } else { "left" };
        assert!(whole.filter("thread", &format!("burn-{name}")).filter("tenant", other).is_empty());
    }
    // As a flame graph's roots, a path is its stages.
    let mut folded = Vec::new();
    whole.by_label("path").write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    assert!(folded.contains("stage: labels.query;stage: labels.outer;stage: labels.inner;"), "{folded}");

    // Of the latest traces, the samples that were taken in them, and of no other.
    let kept = stagelight::recent_traces();
    let (mut sampled, mut heavy) = (0, 0);
    for (trace, ns) in profile.label_totals("trace") {
        if trace.is_empty() {
            continue;
        }
        let of = kept.iter().find(|kept| format!("{:032x}", kept.trace_id) == trace);
        let duration = of.expect("a trace that was kept").spans[0].duration.as_nanos() as i64;
        // A sample weighs what its thread burned since the one before, which may lie before the trace; a timer's may come
        // late and for many.
        heavy += usize::from(ns > duration + 2 * profile.stats().period);
        assert_eq!(profile.filter("trace", &trace).label_totals("statement")[0].0, "labels");
        sampled += 1;
    }
    assert!(
        sampled > 50 && heavy * 5 < sampled,
        "{sampled} traces have samples, {heavy} more than they took"
    );
    collector.stop();
}

#[test]
fn one_tenant_or_stage_alone_is_sampled_if_asked_for() {
    if !is_child() {
        for rung in ["auto", "ctimer"] {
            let mut child = child("one_tenant_or_stage_alone_is_sampled_if_asked_for");
            succeed(child.env("STAGELIGHT_CPU_RUNG", rung));
        }
        return;
    }
    #[query(key = "beside", tenant = "left")]
    fn beside(ns: u64) {
        burn(ns);
    }
    let take = |only: &[(&str, &str)]| {
        let builder = only.iter().fold(cpu().hz(499), |builder, &(label, value)| builder.only(label, value));
        let session = builder.start().unwrap();
        let start = thread_cpu_ns();
        ask("left", 400_000_000);
        let left = thread_cpu_ns() - start;
        ask("right", 400_000_000);
        beside(200_000_000);
        (session.stop().unwrap(), left as f64)
    };
    let near = |profile: &Profile, truth: f64| {
        let ratio = profile.total() as f64 / truth;
        assert!((0.9..=1.1).contains(&ratio), "{ratio}: {:?}", profile.label_totals("stage"));
        let mut folded = Vec::new();
        profile.write_folded(&mut folded).unwrap();
        let folded = String::from_utf8(folded).unwrap();
        assert!(!folded.contains("[not in focus]") && folded.contains("cpu_labels::ask;"), "{folded}");
    };
    // A stage that has never been entered yet, with what it calls.
    let (profile, left) = take(&[("stage", "labels.outer"), ("tenant", "left")]);
    near(&profile, left);
    assert!((share(&profile, "stage", "labels.inner") - 0.5).abs() < 0.1);
    let (profile, left) = take(&[("tenant", "left")]);
    near(&profile, left * 1.5);
    let (profile, _) = take(&[("stage", "labels.inner")]);
    assert!(profile.total() > 0 && share(&profile, "stage", "labels.inner") == 1.0);
    assert!((share(&profile, "tenant", "left") - 0.5).abs() < 0.1, "{:?}", profile.label_totals("tenant"));
    let error = cpu().only("colour", "red").start().unwrap_err().to_string();
    assert!(error.contains("stage, statement, tenant, user or database"), "{error}");
}
