//! The heap profiler in processes that make it hard: each gets its profile, or a clear error, and lives on.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use stagelight::{query, stage};
use stagelight_profiler::{Error, allocs, heap, heap_metrics, sample_heap, serve};
use stagelight_tests::{child, is_child, succeed};

stagelight_profiler::heap_profiler!(lg_sample = 14);

/// 16 MiB, of which some thousand samples are taken, if any.
#[query(key = "keep", tenant = tenant)]
fn keep(tenant: &str) -> Vec<Vec<u8>> {
    (0..2048).map(|_| vec![1; 8 << 10]).collect()
}

/// What the profile has of a tenant is near to what it keeps.
fn assert_sampled(tenant: &str) {
    let live = heap().run().unwrap().filter("tenant", tenant).total();
    let expected = 16 << 20;
    assert!((live - expected).abs() < expected / 5, "{live} of {expected}");
}

#[test]
fn a_configuration_that_forbids_sampling_is_told_and_bytes_are_counted_all_the_same() {
    let test = "a_configuration_that_forbids_sampling_is_told_and_bytes_are_counted_all_the_same";
    if !is_child() {
        for conf in ["prof:false", "prof_active:true,prof:false", "prof:false,prof:perhaps,nonsense"] {
            // Whichever name this build of jemalloc reads.
            succeed(child(test).env("MALLOC_CONF", conf).env("_RJEM_MALLOC_CONF", conf));
        }
        return;
    }
    #[stage(name = "conf.stage")]
    fn allocate() {
        drop(black_box(Vec::<u8>::with_capacity(1 << 16)));
    }
    allocate();
    let errors = [
        heap().run().map(drop),
        heap().start().map(drop),
        allocs().start().map(drop),
        heap_metrics(std::time::Duration::from_secs(1)),
        sample_heap(Some(15)),
        sample_heap(None),
    ];
    for error in errors {
        let Err(Error::Unsupported(text)) = error else { panic!("{error:?}") };
        assert!(text.contains("prof:false") && text.contains("MALLOC_CONF"), "{text}");
    }
    let server = serve("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/status", server.local_addr());
    let status = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["heap"]["active"], false);
    assert!(status["heap"]["how"].as_str().unwrap().contains("prof:false"), "{status}");
    assert_eq!(stagelight::snapshot().stage("conf.stage").unwrap().alloc_bytes, 1 << 16);
}

#[test]
fn a_configuration_that_makes_no_sense_does_no_harm() {
    let test = "a_configuration_that_makes_no_sense_does_no_harm";
    if !is_child() {
        for conf in
            ["nonsense", "prof:perhaps", "lg_prof_sample:ten", ":::,,,", "prof_active:true", "prof_bt_max:4"]
        {
            succeed(child(test).env("MALLOC_CONF", conf).env("_RJEM_MALLOC_CONF", conf));
        }
        return;
    }
    let kept = keep("conf");
    assert_sampled("conf");
    drop(kept);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn without_descriptors_there_is_an_error_and_nothing_left_behind() {
    let test = "without_descriptors_there_is_an_error_and_nothing_left_behind";
    if !is_child() {
        // Enough for the test program, few enough to be used up.
        let mut command = child(test);
        limit(&mut command, libc::RLIMIT_NOFILE, 64);
        succeed(&mut command);
        return;
    }
    let kept = keep("descriptors");
    assert_sampled("descriptors");
    let before = descriptors();
    let mut refused = 0;
    for left in 0..6 {
        let mut used = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            used.push(file);
        }
        used.truncate(used.len() - left);
        match heap().run() {
            // With few, names may be missing, but nothing of what was sampled.
            Ok(profile) => assert!(profile.filter("tenant", "descriptors").total() > 12 << 20),
            Err(Error::Io(..) | Error::Unsupported(_)) => refused += 1,
            Err(error) => panic!("{left} left: {error}"),
        }
        drop(used);
        assert_eq!(descriptors(), before, "{left} left");
    }
    assert!((1..6).contains(&refused), "{refused}");
    assert_sampled("descriptors");
    drop(kept);
}

/// Lowers a limit of a process that is to be started.
fn limit(command: &mut Command, resource: libc::__rlimit_resource_t, to: u64) {
    let set = move || {
        let limit = libc::rlimit { rlim_cur: to, rlim_max: libc::RLIM_INFINITY };
        let mut now = limit;
        // SAFETY: the structures are ours; both calls may be made between `fork` and `exec`.
        let error = unsafe {
            libc::getrlimit(resource, &raw mut now);
            libc::setrlimit(resource, &libc::rlimit { rlim_max: now.rlim_max, ..limit })
        };
        if error == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(set) };
}

/// The analogue of a full disk: the dump goes to memory, which has a limit too.
#[test]
fn a_limit_on_the_size_of_files_is_told_and_its_signal_kills_nobody() {
    let test = "a_limit_on_the_size_of_files_is_told_and_its_signal_kills_nobody";
    /// Whether the host's own handler was called.
    static SIGNALLED: AtomicBool = AtomicBool::new(false);
    extern "C" fn note(_: libc::c_int) {
        SIGNALLED.store(true, Ordering::Relaxed);
    }
    if !is_child() {
        for handler in ["default", "ignored", "handled", "blocked"] {
            let mut command = child(test);
            limit(&mut command, libc::RLIMIT_FSIZE, 4096);
            succeed(command.env("HANDLER", handler));
        }
        return;
    }
    let handler = std::env::var("HANDLER").unwrap();
    // SAFETY: the handler has the type that is asked for, and does nothing but store; the set is ours.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGXFSZ);
        match handler.as_str() {
            "ignored" => _ = libc::signal(libc::SIGXFSZ, libc::SIG_IGN),
            "handled" => _ = libc::signal(libc::SIGXFSZ, note as *const () as usize),
            "blocked" => _ = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()),
            _ => {}
        }
    }
    let (kept, before) = (keep("large"), descriptors());
    for _ in 0..3 {
        let error = heap().run().unwrap_err();
        assert!(matches!(error, Error::Refused(_)) && error.to_string().contains("RLIMIT_FSIZE"), "{error}");
    }
    assert_eq!(descriptors(), before);
    assert!(!SIGNALLED.load(Ordering::Relaxed));
    // SAFETY: the structure is ours.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut pending);
        assert_eq!(libc::sigismember(&raw const pending, libc::SIGXFSZ), 0, "no signal is left waiting");
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
        let blocked = libc::sigismember(&raw const mask, libc::SIGXFSZ) == 1;
        assert_eq!(blocked, handler == "blocked", "the mask is as it was");
    }
    assert_sampled("large");
    drop(kept);
}

/// Threads end while what they allocated lives on, others free it, and the rate is set all the while: jemalloc's own way of
/// doing that crashes soon.
#[test]
fn another_rate_is_set_while_others_free_what_ended_threads_left() {
    let test = "another_rate_is_set_while_others_free_what_ended_threads_left";
    if !is_child() {
        succeed(&mut child(test));
        return;
    }
    let (stop, mut set) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let piece = || vec![1_u8; black_box(100 << 10)];
                    let left: Vec<_> = (0..8).map(|_| std::thread::spawn(piece)).collect();
                    left.into_iter().for_each(|thread| drop(thread.join()));
                }
            });
        }
        let end = std::time::Instant::now() + std::time::Duration::from_secs(3);
        let mut number = 0;
        while std::time::Instant::now() < end {
            number += 1;
            match sample_heap(Some(12 + number % 2)) {
                Ok(()) => set += 1,
                // The machine may be busy.
                Err(error) => assert!(matches!(error, Error::Busy(_)), "{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    eprintln!("set {set} times");
    assert!(set > 0);
    let kept = keep("at the end");
    assert_sampled("at the end");
    drop(kept);
}
