//! What is recorded is exact: over threads that come and go, errors, panics, and more labels than there is room for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use stagelight::{query, snapshot, stage, stage_all, stage_block};

/// Tests that look at all of the process's figures run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn calls(stage: &str) -> u64 {
    snapshot().stage(stage).map_or(0, |stage| stage.calls)
}

#[stage(name = "churn.inner")]
fn churn_inner(fail: bool) -> Result<(), ()> {
    if fail { Err(()) } else { Ok(()) }
}

#[stage(name = "churn.outer")]
fn churn_outer(n: u64) {
    for i in 0..n {
        let _ = churn_inner(i % 10 == 0);
    }
}

#[test]
fn threads_that_came_and_went_lose_nothing() {
    const THREADS: u64 = 400;
    const CALLS: u64 = 50;
    for batch in 0..THREADS / 8 {
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(|| churn_outer(CALLS))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(calls("churn.outer"), (batch + 1) * 8);
    }
    let snapshot = snapshot();
    let inner = snapshot.stage("churn.inner").unwrap();
    assert_eq!((inner.calls, inner.errors), (THREADS * CALLS, THREADS * CALLS / 10));
    assert_eq!(inner.histogram.count(), inner.calls);
    let outer = snapshot.stage("churn.outer").unwrap();
    assert!(outer.total_ns >= inner.total_ns + outer.self_ns);
    assert!(snapshot.recorder.blocks < 64, "blocks are used again: {}", snapshot.recorder.blocks);
}

#[test]
fn self_time_leaves_out_the_children() {
    #[stage(name = "selftime.parent")]
    fn parent() {
        stagelight_tests::burn(2_000_000);
        child();
        child();
    }
    #[stage(name = "selftime.child")]
    fn child() {
        stagelight_tests::burn(5_000_000);
    }
    parent();
    let snapshot = snapshot();
    let (parent, child) =
        (snapshot.stage("selftime.parent").unwrap(), snapshot.stage("selftime.child").unwrap());
    assert_eq!(parent.total_ns, parent.self_ns + child.total_ns);
    assert_eq!(child.total_ns, child.self_ns);
    assert_eq!(parent.histogram.max(), parent.total_ns);
}

#[test]
fn a_panic_leaves_the_stages_sound() {
    #[stage(name = "panic.outer")]
    fn outer(fail: bool) {
        inner(fail);
    }
    #[stage(name = "panic.inner")]
    fn inner(fail: bool) {
        assert!(!fail, "as the test wants");
    }
    let before = stagelight::__private::current();
    assert!(std::panic::catch_unwind(|| outer(true)).is_err());
    assert_eq!(stagelight::__private::current(), before);
    outer(false);
    assert_eq!((calls("panic.outer"), calls("panic.inner")), (2, 2));
}

struct Engine;

#[stage_all(component = "engine")]
impl Engine {
    fn first(&self) -> u8 {
        self.second()
    }

    #[stage(name = "engine.named")]
    fn second(&self) -> u8 {
        Self::left_out()
    }

    #[stage(skip)]
    fn left_out() -> u8 {
        stage_block!("engine.block", { 7 })
    }

    const fn constant() -> u8 {
        1
    }
}

#[test]
fn every_function_of_a_block_is_a_stage_but_what_is_left_out() {
    assert_eq!(Engine.first() + Engine::constant(), 8);
    let snapshot = snapshot();
    assert_eq!(snapshot.stage("Engine::first").map(|s| (s.calls, s.component)), Some((1, "engine")));
    assert_eq!((calls("engine.named"), calls("engine.block")), (1, 1));
    assert!(snapshot.stage("Engine::left_out").is_none() && snapshot.stage("Engine::constant").is_none());
}

#[test]
fn off_records_nothing_and_labels_nothing() {
    #[query(name = "switch.query", key = "switch")]
    fn switched() -> (u32, u32) {
        stagelight::__private::current()
    }
    let _alone = alone();
    switched();
    stagelight::set_recording(false);
    let inside = switched();
    stagelight::set_recording(true);
    assert_eq!(inside, (0, 0));
    let (stage, labels) = switched();
    assert!(stage != 0 && labels != 0);
    assert_eq!(calls("switch.query"), 2);
}

#[query(name = "labels.query", key = statement, tenant = tenant)]
fn labelled(statement: &str, tenant: &str) -> Result<(), std::io::Error> {
    Ok(())
}

#[test]
fn odd_labels_never_break_the_exposition() {
    let long = "x".repeat(1 << 20);
    let odd = ["say \"hi\"", "two\nlines", "back\\slash", "nul\0nul", "tab\tbell\u{7}", "ümläut 🦀", &long];
    for statement in odd {
        labelled(statement, "odd \"tenant\"\n").unwrap();
    }
    let mut text = Vec::new();
    stagelight_profiler::write_metrics(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    // Each line is a comment or `name{labels} value`, as far as a reader that looks for both can tell.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        assert!(value.parse::<f64>().is_ok() && !series.is_empty(), "{line:?}");
        assert!(!series.chars().any(char::is_control), "{line:?}");
    }
    assert!(text.contains(r#"statement="say \"hi\"""#) && text.contains(r#"statement="two\nlines""#));
    assert!(text.contains("stagelight_refused_total{cause=\"label_length\"} "));
    assert!(text.lines().all(|line| line.len() < 2_000), "a megabyte is cut");

    match stagelight_tests::tool(&["promtool"]) {
        None => stagelight_tests::skip("promtool check metrics", "promtool is not installed"),
        Some(promtool) => {
            let file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut &file, text.as_bytes()).unwrap();
            std::io::Seek::rewind(&mut &file).unwrap();
            stagelight_tests::succeed(
                std::process::Command::new(promtool).args(["check", "metrics"]).stdin(file),
            );
        }
    }
}

#[test]
fn nested_queries_count_their_own_time_once() {
    #[query(key = "nest.outer", tenant = 7_u32)]
    fn outer() {
        stagelight_tests::burn(1_000_000);
        inner();
    }
    #[query(key = String::from("nest.inner"), tenant = Some(7_u32))]
    fn inner() {
        stagelight_tests::burn(3_000_000);
    }
    outer();
    let snapshot = snapshot();
    let find = |name: &str| snapshot.statements.iter().find(|s| s.value == name).unwrap().clone();
    let (outer, inner) = (find("nest.outer"), find("nest.inner"));
    assert_eq!((outer.max_ns, inner.max_ns), (outer.total_ns, inner.total_ns));
    assert_eq!((outer.total_ns, inner.total_ns), (outer.self_ns + inner.self_ns, inner.self_ns));
    let tenant = snapshot.tenants.iter().find(|tenant| tenant.value == "7").unwrap();
    assert_eq!((tenant.calls, tenant.self_ns), (2, outer.max_ns));
    assert_eq!(tenant.total_ns, outer.total_ns + inner.total_ns);
}
