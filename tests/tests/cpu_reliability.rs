//! The CPU profiler in processes that make it hard: each ends in a rung that works, or in a clear error.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stagelight::query;
use stagelight_profiler::{Profile, cpu};
use stagelight_tests::cpu::{RUNGS, as_nobody, forbid, refused};
use stagelight_tests::totals::{sampled_ns, weighed};
use stagelight_tests::{burn, child, is_child, skip, succeed, tool};

#[query(key = "burn", tenant = tenant)]
fn burn_for(tenant: &str, ns: u64) {
    burn(ns);
}

/// Not a test of its own: tells its parent whether a profile can be started.
#[test]
fn probe() {
    if is_child()
        && let Err(error) = cpu().start()
    {
        println!("refused: {error}");
    }
}

/// Runs a test as a child on each rung that can be had here.
fn on_each_rung(test: &str) {
    for rung in RUNGS {
        match refused(rung) {
            Some(why) => skip(&format!("{test} on {rung}"), &why),
            None => drop(succeed(child(test).env("STAGELIGHT_CPU_RUNG", rung))),
        }
    }
}

fn dropped(profile: &Profile, cause: &str) -> u64 {
    let dropped = &profile.stats().dropped;
    dropped.iter().find(|(name, _)| *name == cause).map(|(_, count)| *count).unwrap()
}

/// Threads that wait until they are let go.
fn with_idle_threads(count: usize, run: impl FnOnce()) {
    /// Lets them go also when the test fails.
    struct Go<'a>(&'a AtomicBool);
    impl Drop for Go<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let go = AtomicBool::new(false);
    let there = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let _go = Go(&go);
        for _ in 0..count {
            scope.spawn(|| {
                there.fetch_add(1, Ordering::Relaxed);
                while !go.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        while there.load(Ordering::Relaxed) < count as u64 {
            std::thread::yield_now();
        }
        run();
    });
}

#[test]
fn a_debugger_that_is_attached_is_not_stopped_by_samples() {
    let test = "a_debugger_that_is_attached_is_not_stopped_by_samples";
    if is_child() {
        let session = cpu().hz(999).start().unwrap();
        burn_for("debugged", 300_000_000);
        let profile = session.stop().unwrap();
        let stats = profile.stats();
        assert_ne!(stats.rung, "perf-sigtrap");
        assert!(stats.rungs_refused[0].contains("debugger"), "{stats:?}");
        assert!(weighed(&profile, "debugged", 300_000_000) > 0.9, "{stats:?}");
        eprintln!("under a debugger: {}, {} samples", stats.rung, stats.samples);
        return;
    }
    let Some(gdb) = tool(&["gdb"]) else { return skip("a debugger attached", "gdb is not installed") };
    let exe = std::env::current_exe().unwrap();
    let debug = |program: &std::path::Path| {
        let mut command = Command::new(&gdb);
        command.args(["-batch", "-nx", "-return-child-result", "-ex", "run", "--args"]).arg(program);
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        command.env("STAGELIGHT_TEST_CHILD", "1").env_remove("STAGELIGHT_CPU_RUNG");
        command.output().unwrap()
    };
    let tried = debug("/bin/true".as_ref());
    if !String::from_utf8_lossy(&tried.stdout).contains("exited normally") {
        let why = String::from_utf8_lossy(&tried.stderr).replace('\n', " ");
        return skip("a debugger attached", &format!("gdb can't run a program here: {why}"));
    }
    let output = debug(&exe);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert!(!text.contains("SIGTRAP") && !text.contains("SIGURG"), "{text}");
    eprintln!("{}", text.lines().find(|line| line.starts_with("under a debugger")).unwrap_or(""));
}

#[test]
fn threads_that_block_the_signals_are_counted_and_weigh_right_once_they_let_them_in() {
    if !is_child() {
        return on_each_rung(
            "threads_that_block_the_signals_are_counted_and_weigh_right_once_they_let_them_in",
        );
    }
    fn block_all(how: libc::c_int) {
        // SAFETY: the set is ours, and changes the calling thread alone.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(how, &raw const all, std::ptr::null_mut());
        }
    }
    let session = cpu().hz(499).start().unwrap();
    let (done, end) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut profile = None;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Blocks them to its end.
            block_all(libc::SIG_BLOCK);
            burn_for("never", 200_000_000);
            done.store(true, Ordering::Release);
            while !end.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let sometimes = scope.spawn(|| {
            block_all(libc::SIG_BLOCK);
            burn_for("sometimes", 300_000_000);
            block_all(libc::SIG_UNBLOCK);
            burn_for("sometimes", 200_000_000);
        });
        burn_for("open", 300_000_000);
        sometimes.join().unwrap();
        while !done.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        profile = Some(session.stop());
        end.store(true, Ordering::Release);
    });
    let profile = profile.unwrap().unwrap();
    let stats = profile.stats();
    let open = weighed(&profile, "open", 300_000_000);
    // What a thread used under its block counts where the block ends, which here is in no stage.
    let all = (sampled_ns(&profile) + 2e8) / stats.cpu_time.as_nanos() as f64;
    eprintln!(
        "{}: {open:.3} of the open thread, {all:.3} of all but the one that blocks to its end",
        stats.rung
    );
    assert_eq!(dropped(&profile, "signal_blocked"), 1, "{stats:?}");
    assert!((0.93..=1.07).contains(&open), "{open}");
    assert!((0.93..=1.07).contains(&all), "{all}");
    // The next profile is not disturbed by what is left of this one.
    let next = cpu().hz(499).start().unwrap();
    burn_for("next", 200_000_000);
    let next = next.stop().unwrap();
    assert!((0.8..=1.2).contains(&weighed(&next, "next", 200_000_000)), "{:?}", next.stats());
}

/// What the host's handler of a signal saw.
static SEEN: AtomicU64 = AtomicU64::new(0);
static MASK_OF_THE_HANDLER: AtomicU64 = AtomicU64::new(0);

fn note_host_signal() {
    // SAFETY: the set is ours; async-signal-safe.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
        let bits = std::ptr::from_ref(&mask).cast::<u64>().read();
        MASK_OF_THE_HANDLER.store(bits, Ordering::Relaxed);
    }
    SEEN.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn plain(_: libc::c_int) {
    note_host_signal();
}

extern "C" fn informed(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: what the kernel handed over is passed on whole.
    assert!(!context.is_null() && unsafe { (*info).si_signo } == signal);
    note_host_signal();
}

fn host_installs(signal: libc::c_int, handler: usize, flags: libc::c_int) {
    // SAFETY: the handler has the type that the flags say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaddset(&raw mut action.sa_mask, libc::SIGUSR2);
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

#[test]
fn a_hosts_handlers_get_their_signals_under_their_masks_and_flags() {
    let test = "a_hosts_handlers_get_their_signals_under_their_masks_and_flags";
    if !is_child() {
        for flags in ["plain", "siginfo", "nodefer", "onstack"] {
            for rung in RUNGS.into_iter().filter(|rung| refused(rung).is_none()) {
                succeed(child(test).env("STAGELIGHT_CPU_RUNG", rung).env("FLAGS", flags));
            }
        }
        // A handler for one signal, which then is gone: the second meets the default action.
        for rung in RUNGS.into_iter().filter(|rung| refused(rung).is_none()) {
            use std::os::unix::process::ExitStatusExt as _;
            let output =
                child(test).env("STAGELIGHT_CPU_RUNG", rung).env("FLAGS", "resethand").output().unwrap();
            // SIGURG does nothing by default.
            if rung == "perf-sigtrap" {
                assert_eq!(output.status.signal(), Some(libc::SIGTRAP), "{output:?}");
            } else {
                assert!(output.status.success(), "{output:?}");
            }
            assert!(String::from_utf8_lossy(&output.stdout).contains("seen once"), "{output:?}");
        }
        return;
    }
    let kind = std::env::var("FLAGS").unwrap();
    let (handler, flags) = match kind.as_str() {
        "plain" => (plain as *const () as usize, libc::SA_RESTART),
        "nodefer" => (plain as *const () as usize, libc::SA_NODEFER),
        "onstack" => (plain as *const () as usize, libc::SA_ONSTACK),
        "resethand" => (plain as *const () as usize, libc::SA_RESETHAND),
        _ => (informed as *const () as usize, libc::SA_SIGINFO),
    };
    // Both, as a host may.
    for signal in [libc::SIGTRAP, libc::SIGURG] {
        host_installs(signal, handler, flags);
    }
    let session = cpu().hz(999).start().unwrap();
    let signal = if session.rung().starts_with("perf-sigtrap") { libc::SIGTRAP } else { libc::SIGURG };
    // SAFETY: a signal that has a handler; the second of `resethand` is meant to be the end.
    let raise = || unsafe { libc::raise(signal) };
    raise();
    let bit = |signal: libc::c_int| 1_u64 << (signal - 1);
    let mask = MASK_OF_THE_HANDLER.load(Ordering::Relaxed);
    assert_eq!(SEEN.load(Ordering::Relaxed), 1);
    assert_ne!(mask & bit(libc::SIGUSR2), 0, "the host's mask holds: {mask:x}");
    assert_eq!(mask & bit(signal) != 0, kind != "nodefer", "{mask:x}");
    if kind == "resethand" {
        println!("seen once");
        raise();
        assert_eq!(
            (signal, SEEN.load(Ordering::Relaxed)),
            (libc::SIGURG, 1),
            "the default action of a trap ends the process"
        );
        burn_for("host", 200_000_000);
        let profile = session.stop().unwrap();
        assert!((0.8..=1.2).contains(&weighed(&profile, "host", 200_000_000)), "{:?}", profile.stats());
        return;
    }
    let now = || {
        MASK_OF_THE_HANDLER.store(0, Ordering::Relaxed);
        note_host_signal();
        SEEN.fetch_sub(1, Ordering::Relaxed);
        MASK_OF_THE_HANDLER.load(Ordering::Relaxed)
    };
    assert_eq!(now() & (bit(libc::SIGUSR2) | bit(signal)), 0, "and is gone afterwards");
    burn_for("host", 200_000_000);
    let profile = session.stop().unwrap();
    assert!((0.8..=1.2).contains(&weighed(&profile, "host", 200_000_000)), "{:?}", profile.stats());
    raise();
    assert_eq!(SEEN.load(Ordering::Relaxed), 2, "no sample is taken for the host's, and no signal is lost");
}

/// Lowers one of the process's limits.
fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is ours.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    limit.rlim_cur = to.min(limit.rlim_max);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

#[test]
fn few_descriptors_and_few_pending_signals_lead_to_a_lower_rung() {
    let test = "few_descriptors_and_few_pending_signals_lead_to_a_lower_rung";
    if !is_child() {
        // By descriptors, pending signals, and the rung that is left for twenty threads.
        for (descriptors, signals, rung) in
            [(16, 100_000, "ctimer"), (16, 16, "sampler-thread"), (16, 0, "sampler-thread")]
        {
            let mut command = child(test);
            command.env("DESCRIPTORS", descriptors.to_string()).env("SIGNALS", signals.to_string());
            succeed(command.env("EXPECT", rung).env_remove("STAGELIGHT_CPU_RUNG"));
        }
        if refused("perf-sigtrap").is_none() {
            let mut command = child(test);
            command.env("DESCRIPTORS", "4096").env("SIGNALS", "0").env("EXPECT", "perf-sigtrap");
            succeed(command.env_remove("STAGELIGHT_CPU_RUNG"));
            command.env("EXPECT", "perf-setsig");
            succeed(command.env("STAGELIGHT_CPU_RUNG", "perf-setsig"));
        }
        return;
    }
    let number = |name: &str| std::env::var(name).unwrap().parse().unwrap();
    with_idle_threads(20, || {
        limit(libc::RLIMIT_NOFILE, number("DESCRIPTORS"));
        limit(libc::RLIMIT_SIGPENDING, number("SIGNALS"));
        let session = cpu().hz(499).start().unwrap();
        assert_eq!(session.rung(), std::env::var("EXPECT").unwrap());
        burn_for("limited", 300_000_000);
        let profile = session.stop().unwrap();
        let stats = profile.stats();
        assert!((0.8..=1.2).contains(&weighed(&profile, "limited", 300_000_000)), "{stats:?}");
        assert_eq!(dropped(&profile, "threads_missed"), 0);
        if !stats.rung.starts_with("perf") {
            assert!(stats.rungs_refused[0].contains("RLIMIT_NOFILE"), "{stats:?}");
        }
    });
}

#[test]
fn timers_leave_the_host_half_of_its_signals_and_count_the_threads_without() {
    let test = "timers_leave_the_host_half_of_its_signals_and_count_the_threads_without";
    if !is_child() {
        succeed(child(test).env_remove("STAGELIGHT_CPU_RUNG"));
        return;
    }
    forbid(&[libc::SYS_perf_event_open]);
    // Pending signals are counted by user, so that others' may be among them.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let queued = status.lines().find_map(|line| line.strip_prefix("SigQ:")).unwrap();
    let queued: u64 = queued.trim().split('/').next().unwrap().parse().unwrap();
    limit(libc::RLIMIT_SIGPENDING, queued + 40);
    let session = cpu().hz(99).start().unwrap();
    assert_eq!(session.rung(), "ctimer");
    let mut host_timers = 0;
    with_idle_threads(40, || {
        // All have been looked at by then, whatever the machine does.
        std::thread::sleep(Duration::from_millis(500));
        for _ in 0..10 {
            let mut timer = std::ptr::null_mut();
            // SAFETY: the place to write to is ours; no event means the default one.
            let made =
                unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, std::ptr::null_mut(), &raw mut timer) };
            host_timers += u32::from(made == 0);
        }
    });
    let profile = session.stop().unwrap();
    let missed = dropped(&profile, "threads_missed");
    assert!((15..=40).contains(&missed), "{missed} threads without a timer");
    assert_eq!(host_timers, 10, "the host can still have timers of its own");
}

#[test]
fn the_lowest_rung_works_where_a_filter_refuses_queued_signals() {
    if !is_child() {
        let mut child = child("the_lowest_rung_works_where_a_filter_refuses_queued_signals");
        succeed(child.env("STAGELIGHT_CPU_RUNG", "sampler-thread"));
        return;
    }
    forbid(&[libc::SYS_perf_event_open, libc::SYS_timer_create, libc::SYS_rt_tgsigqueueinfo]);
    let session = cpu().hz(499).start().unwrap();
    burn_for("filtered", 300_000_000);
    let profile = session.stop().unwrap();
    assert!((0.8..=1.2).contains(&weighed(&profile, "filtered", 300_000_000)), "{:?}", profile.stats());
}

#[test]
fn every_rung_works_for_a_user_without_privileges() {
    let test = "every_rung_works_for_a_user_without_privileges";
    if is_child() {
        let profile = {
            let session = cpu().hz(499).start().unwrap();
            burn_for("nobody", 300_000_000);
            session.stop().unwrap()
        };
        let stats = profile.stats();
        eprintln!("unprivileged: {}", stats.rung);
        assert!(stats.rung.starts_with(&std::env::var("STAGELIGHT_CPU_RUNG").unwrap()), "{stats:?}");
        assert!((0.8..=1.2).contains(&weighed(&profile, "nobody", 300_000_000)), "{stats:?}");
        return;
    }
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return skip("the rungs for another user", "only root can become one");
    }
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    let perf = paranoid.trim().parse::<i32>().is_ok_and(|level| level <= 2);
    for rung in RUNGS {
        if rung.starts_with("perf") && (!perf || refused(rung).is_some()) {
            skip(&format!("{rung} for another user"), &format!("perf_event_paranoid is {}", paranoid.trim()));
        } else {
            as_nobody(test, |command| {
                succeed(command.env("STAGELIGHT_CPU_RUNG", rung));
            });
        }
    }
}

#[test]
fn threads_that_come_and_go_and_know_nothing_of_stages_are_all_weighed() {
    if !is_child() {
        return on_each_rung("threads_that_come_and_go_and_know_nothing_of_stages_are_all_weighed");
    }
    let ready = std::sync::Barrier::new(3);
    let mut profile = None;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            // There before the profile; ends in its midst.
            scope.spawn(|| {
                ready.wait();
                ready.wait();
                burn(400_000_000);
            });
        }
        ready.wait();
        let session = cpu().hz(999).start().unwrap();
        ready.wait();
        // Come after it began, one by one, never in a stage.
        for _ in 0..6 {
            std::thread::spawn(|| burn(250_000_000)).join().unwrap();
        }
        let mut pair = [None, None];
        pair.fill_with(|| Some(std::thread::spawn(|| burn(300_000_000))));
        pair.into_iter().flatten().for_each(|thread| thread.join().unwrap());
        profile = Some(session.stop().unwrap());
    });
    let profile = profile.unwrap();
    let stats = profile.stats();
    let weighed = sampled_ns(&profile) / stats.cpu_time.as_nanos() as f64;
    eprintln!("{}: {} samples, weights {weighed:.4} of the CPU time", stats.rung, stats.samples);
    assert!((0.95..=1.05).contains(&weighed), "{weighed}: {stats:?}");
}

#[test]
fn no_waiting_call_ends_early_on_the_perf_rungs() {
    if !is_child() {
        // The last one with functions of the kernel, if they can be had.
        for (rung, kernel) in [("perf-sigtrap", ""), ("perf-setsig", ""), ("perf-sigtrap", "1")] {
            match refused(rung) {
                Some(why) => skip(&format!("waiting calls on {rung}"), &why),
                None => {
                    let test = "no_waiting_call_ends_early_on_the_perf_rungs";
                    succeed(child(test).env("STAGELIGHT_CPU_RUNG", rung).env("KERNEL", kernel));
                }
            }
        }
        return;
    }
    const CALLS: u32 = 100;
    let interrupted = AtomicU64::new(0);
    let kernel = std::env::var("KERNEL").is_ok_and(|kernel| kernel == "1");
    let session = if kernel { cpu().kernel_frames() } else { cpu() }.hz(999).start().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut pipe = [0; 2];
                // SAFETY: room for two descriptors.
                assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
                for call in 0..CALLS {
                    // So that ticks fall near the calls, some within their way to the wait.
                    burn(u64::from(call % 10) * 200_000);
                    let pause = libc::timespec { tv_sec: 0, tv_nsec: 2_000_000 };
                    let mut poll = libc::pollfd { fd: pipe[0], events: libc::POLLIN, revents: 0 };
                    // SAFETY: structures of ours; nothing is ever written to the pipe but below.
                    let result = unsafe {
                        match call % 4 {
                            0 => libc::nanosleep(&raw const pause, std::ptr::null_mut()),
                            1 => libc::poll(&raw mut poll, 1, 2),
                            2 => libc::select(
                                0,
                                std::ptr::null_mut(),
                                std::ptr::null_mut(),
                                std::ptr::null_mut(),
                                &mut libc::timeval { tv_sec: 0, tv_usec: 2_000 },
                            ),
                            _ => {
                                let byte = [0_u8];
                                libc::write(pipe[1], byte.as_ptr().cast(), 1);
                                let mut byte = [0_u8];
                                libc::read(pipe[0], byte.as_mut_ptr().cast(), 1) as libc::c_int
                            }
                        }
                    };
                    if result < 0 {
                        let error = std::io::Error::last_os_error();
                        assert_eq!(error.raw_os_error(), Some(libc::EINTR), "{error}");
                        interrupted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let profile = session.stop().unwrap();
    eprintln!("{}: {} samples", profile.stats().rung, profile.stats().samples);
    assert!(profile.stats().samples > 50, "{:?}", profile.stats());
    assert_eq!(interrupted.into_inner(), 0, "calls ended by EINTR, of {}", 4 * CALLS);
}
