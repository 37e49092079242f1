//! A focus of the heap's sampling, and what an allocation profile tells of live memory. In a process of its own: a focus is
//! the process's.
#![cfg(target_os = "linux")]

use std::process::Command;

use stagelight::{query, stage};
use stagelight_profiler::{Error, Profile, allocs, focus_heap, heap};
use stagelight_tests::{skip, tool};

stagelight_profiler::heap_profiler!(lg_sample = 14);

type Kept = Vec<Vec<u8>>;

const BYTES: i64 = 16 << 20;
const ALONE: &str = "[not in focus]";

/// 16 MiB, of which some thousand samples are taken.
#[inline(never)]
fn fill() -> Kept {
    (0..2048).map(|_| vec![1; 8 << 10]).collect()
}

#[query(key = "keep", tenant = tenant)]
fn keep(tenant: &str) -> Kept {
    fill()
}

#[stage(name = "focus.outer")]
fn outer() -> Kept {
    inner()
}

#[stage(name = "focus.inner")]
fn inner() -> Kept {
    fill()
}

#[query(key = "staged", tenant = "staged")]
fn staged(run: fn() -> Kept) -> Kept {
    run()
}

/// Bytes with a stack, and without, as is told of a tenant.
fn held(profile: &Profile, tenant: &str) -> [i64; 2] {
    let mut folded = Vec::new();
    profile.filter("tenant", tenant).write_folded(&mut folded).unwrap();
    let mut sums = [0; 2];
    for line in String::from_utf8(folded).unwrap().lines() {
        let (stack, bytes) = line.rsplit_once(' ').unwrap();
        assert!(stack == ALONE || stack.contains("heap_focus::"), "{stack}");
        sums[usize::from(stack == ALONE)] += bytes.parse::<i64>().unwrap();
    }
    sums
}

fn is_all(bytes: i64) -> bool {
    (bytes - BYTES).abs() < BYTES / 5
}

#[test]
fn stacks_are_taken_of_what_is_in_focus_and_all_else_counts() {
    let before = keep("before");
    focus_heap(Some(("tenant", "acme"))).unwrap();
    let (acme, other) = (keep("acme"), keep("other"));
    let profile = heap().run().unwrap();
    for (tenant, in_focus) in [("before", true), ("acme", true), ("other", false)] {
        let [with, without] = held(&profile, tenant);
        let (all, none) = if in_focus { (with, without) } else { (without, with) };
        assert!(is_all(all) && none == 0, "{tenant}: {with} with stacks, {without} without");
    }
    drop((before, acme, other));

    // A stage that nobody has entered yet, and what it calls.
    focus_heap(Some(("stage", "focus.outer"))).unwrap();
    let within = staged(outer);
    let [with, without] = held(&heap().run().unwrap(), "staged");
    assert!(is_all(with) && without == 0, "{with} {without}");
    drop(within);
    let beside = staged(inner);
    let [with, without] = held(&heap().run().unwrap(), "staged");
    assert!(is_all(without) && with == 0, "{with} {without}");
    drop(beside);

    focus_heap(None).unwrap();
    let after = keep("after");
    let [with, without] = held(&heap().run().unwrap(), "after");
    assert!(is_all(with) && without == 0, "{with} {without}");
    drop(after);

    let error = focus_heap(Some(("colour", "red"))).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("stage, statement"), "{error}");
    the_focus_is_set_over_http();
    an_allocation_profile_tells_what_lives_too();
}

fn the_focus_is_set_over_http() {
    let server = stagelight_profiler::serve("127.0.0.1:0").unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let post = |query: &str| {
        let url = format!("http://{}/api/v1/heap?{query}", server.local_addr());
        let mut response = agent.post(url).header("x-stagelight", "1").send_empty().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let (status, text) = post("focus=tenant:acme");
    assert!(status == 200 && text.contains("of tenant \\\"acme\\\" alone"), "{status} {text}");
    let other = keep("other");
    let [with, without] = held(&heap().run().unwrap(), "other");
    assert!(is_all(without) && with == 0, "{with} {without}");
    drop(other);
    let (status, text) = post("focus=off&lg_sample=14");
    assert!(status == 200 && !text.contains("alone"), "{status} {text}");
    for (query, allowed) in [("", "lg_sample=10"), ("lg_sample=9", "2^10"), ("focus=colour:red", "tenant")] {
        let (status, text) = post(query);
        assert!(status == 400 && text.contains(allowed), "{query}: {status} {text}");
    }
}

fn an_allocation_profile_tells_what_lives_too() {
    let early = keep("early");
    let session = allocs().start().unwrap();
    drop(keep("churn"));
    let late = keep("late");
    let profile = session.stop().unwrap();
    assert_eq!(held(&profile, "early"), [0, 0], "what it measures is what was allocated");
    assert!(is_all(held(&profile, "churn")[0]) && is_all(held(&profile, "late")[0]));

    let Some(go) = tool(&["go", "/usr/lib/go-1.19/bin/go"]) else {
        return skip("sample types of an allocation profile", "go is not installed");
    };
    let file = stagelight_tests::target_dir().join("allocs-and-live.pb.gz");
    profile.write_pprof(std::fs::File::create(&file).unwrap()).unwrap();
    let total = |index: &str, tenant: &str| -> f64 {
        let args =
            ["-unit=b", "-top", &format!("-sample_index={index}"), &format!("-tagfocus=tenant={tenant}")];
        let output = Command::new(&go).args(["tool", "pprof"]).args(args).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // "Showing nodes accounting for 17809408B, 33% of …", or nothing where nothing matches.
        let sum = text.split("accounting for ").nth(1).and_then(|rest| rest.split(['B', 'b', ',']).next());
        sum.and_then(|sum| sum.trim().parse().ok()).unwrap_or(0.0)
    };
    for (tenant, allocated, lives) in [("early", false, true), ("churn", true, false), ("late", true, true)] {
        let found = ["alloc_space", "inuse_space"].map(|index| total(index, tenant) as i64);
        assert_eq!(found.map(is_all), [allocated, lives], "{tenant}: {found:?}");
        assert!(found.into_iter().all(|bytes| bytes == 0 || is_all(bytes)), "{tenant}: {found:?}");
    }
    assert!(["alloc_objects", "inuse_objects"].iter().all(|index| total(index, "late") > 1000.0));
    drop((early, late));
}
