//! What makes a profile say less, or other, than it seems to is told in the profile itself.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stagelight_profiler::{Profile, allocs, cpu, locks};
use stagelight_tests::{burn, child, is_child, succeed};

stagelight_profiler::heap_profiler!();

/// Alone, for there is one profile of the CPU at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What each format with a place for it says.
fn written(profile: &Profile) -> [(&'static str, String); 5] {
    type Write<'a> = &'a dyn Fn(&mut Vec<u8>) -> std::io::Result<()>;
    let text = |write: Write<'_>| {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap().replace("&apos;", "'")
    };
    [
        ("top", text(&|out| profile.write_top(out))),
        ("svg", text(&|out| profile.write_flamegraph(out))),
        ("icicle", text(&|out| profile.write_icicle(out))),
        ("speedscope", text(&|out| profile.write_speedscope(out))),
        ("firefox", text(&|out| profile.write_firefox(out))),
    ]
}

fn assert_told(profile: &Profile, what: &str) {
    for (format, text) in written(profile) {
        assert!(text.contains(what), "{format} does not say {what:?}: {}", &text[..text.len().min(2000)]);
    }
}

#[test]
fn functions_of_the_kernel_that_cannot_be_had_are_told() {
    if !is_child() {
        let test = "functions_of_the_kernel_that_cannot_be_had_are_told";
        succeed(child(test).env("STAGELIGHT_CPU_RUNG", "ctimer"));
        return;
    }
    let session = cpu().hz(999).kernel_frames().start().unwrap();
    burn(200_000_000);
    let profile = session.stop().unwrap();
    assert_told(&profile, "it has no functions of the kernel, which were asked for: STAGELIGHT_CPU_RUNG is");
    let session = cpu().hz(999).start().unwrap();
    burn(100_000_000);
    let profile = session.stop().unwrap();
    assert!(profile.stats().notes.is_empty(), "nobody asked: {:?}", profile.stats().notes);
}

/// Profiles of a second and more, in which the process is stopped if anybody does so once it says
/// that it is ready.
fn take_profiles() {
    let (locks, allocs, cpu) = (locks().start().unwrap(), allocs().start().unwrap(), cpu().start().unwrap());
    burn(200_000_000);
    println!("ready");
    burn(900_000_000);
    let (cpu, allocs, locks) = (cpu.stop().unwrap(), allocs.stop().unwrap(), locks.stop().unwrap());
    for (name, profile) in [("cpu", &cpu), ("allocs", &allocs), ("block", &locks.block)] {
        println!("{name}: {}", profile.stats().stopped.as_millis());
        if !profile.stats().stopped.is_zero() {
            assert_told(profile, "the process did not run for about ");
        }
    }
}

/// Milliseconds that each profile of a child says it was stopped for, which it was for so long.
fn told_to_be_stopped(stop: Duration) -> Vec<(String, u64)> {
    let mut command = child("a_process_that_was_stopped_is_told");
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.ends_with("ready")));
    let signal = |name: &str| {
        succeed(Command::new("kill").arg(format!("-{name}")).arg(process.id().to_string()));
    };
    if !stop.is_zero() {
        signal("STOP");
        std::thread::sleep(stop);
        signal("CONT");
    }
    let told = lines.filter_map(|line| {
        let (name, ms) = line.split_once(": ")?;
        Some((name.to_owned(), ms.parse().ok()?))
    });
    let told = told.collect();
    assert!(process.wait().unwrap().success());
    told
}

#[test]
fn a_process_that_was_stopped_is_told() {
    if is_child() {
        return take_profiles();
    }
    let _alone = alone();
    let told = told_to_be_stopped(Duration::from_millis(2_000));
    assert_eq!(told.len(), 3, "{told:?}");
    // By the clock of who stopped it, which may itself come late.
    assert!(told.iter().all(|(_, ms)| (1_500..20_000).contains(ms)), "{told:?}");
    let told = told_to_be_stopped(Duration::ZERO);
    assert!(told.len() == 3 && told.iter().all(|(_, ms)| *ms == 0), "nobody stopped it: {told:?}");
}

#[test]
fn profiles_of_locks_say_which_locks_they_know() {
    let profiles = locks().duration(Duration::from_millis(20)).run().unwrap();
    for profile in [&profiles.block, &profiles.mutex] {
        let mut top = Vec::new();
        profile.write_top(&mut top).unwrap();
        let top = String::from_utf8(top).unwrap();
        assert!(top.contains("it knows the locks of stagelight::sync and stagelight::parking_lot"), "{top}");
    }
}

#[test]
fn threads_without_a_name_of_their_own_are_told_apart() {
    let _alone = alone();
    let program = std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
    let inherit = || {
        let name = std::ffi::CString::new(program.clone()).unwrap();
        // SAFETY: the name is a string that ends in 0, which the call reads alone; gettid has no
        // preconditions.
        unsafe {
            libc::prctl(libc::PR_SET_NAME, name.as_ptr());
            libc::gettid()
        }
    };
    let session = cpu().hz(999).start().unwrap();
    let ids: Vec<i32> = std::thread::scope(|scope| {
        let work = || {
            // What the first of a program's threads has, those have that it starts.
            let id = inherit();
            burn(200_000_000);
            id
        };
        let named = std::thread::Builder::new().name("a-worker".into());
        let worker = named.spawn_scoped(scope, || burn(200_000_000)).unwrap();
        let threads = [scope.spawn(work), scope.spawn(work)];
        let ids = threads.map(|thread| thread.join().unwrap()).to_vec();
        worker.join().unwrap();
        ids
    });
    let profile = session.stop().unwrap();
    for id in ids {
        let own = profile.filter("thread", &format!("{program}/{id}"));
        assert!(own.total() > 100_000_000, "{id}: {:?}", profile.label_totals("thread"));
    }
    assert!(profile.filter("thread", "a-worker").total() > 100_000_000);
}
