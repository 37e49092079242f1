//! The CPU profile against a truth that the test controls, on every rung, each in a process of its own.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use stagelight::query;
use stagelight_profiler::{Error, Profile, cpu};
use stagelight_tests::cpu::{RUNGS, as_nobody, forbid, refused};
use stagelight_tests::totals::{sampled_ns, weighed};
use stagelight_tests::{burn, child, is_child, skip, succeed, thread_cpu_ns};

/// CPU nanoseconds by tenant, by the threads' own clocks.
type Truth = HashMap<&'static str, u64>;

#[query(key = "burn", tenant = tenant)]
fn burn_for(tenant: &str, ns: u64) {
    burn(ns);
}

/// Two workers at a time, for three tenants in shares of 6 : 3 : 1, and new threads all the while. So many shifts, and not
/// so many seconds, that a busy machine makes it longer and not smaller.
fn load(shifts: u32) -> Truth {
    let truth = Mutex::new(Truth::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..shifts / 2 {
                    std::thread::scope(|shift| {
                        shift.spawn(|| work_shift(&truth));
                    });
                }
            });
        }
    });
    truth.into_inner().unwrap()
}

/// Some 500 ms of work, in pieces that are no multiple of the sampling period.
fn work_shift(truth: &Mutex<Truth>) {
    let mut own = Truth::new();
    for _ in 0..17 {
        for (tenant, ns) in [("large", 17_300_000), ("middle", 8_600_000), ("small", 2_900_000)] {
            let start = thread_cpu_ns();
            burn_for(tenant, ns);
            *own.entry(tenant).or_default() += thread_cpu_ns() - start;
        }
    }
    let mut truth = truth.lock().unwrap();
    for (tenant, ns) in own {
        *truth.entry(tenant).or_default() += ns;
    }
}

/// Profiles the load and holds the profile against the truth.
fn check_against_truth(rung: &str) {
    let session = cpu().hz(250).start().unwrap();
    assert_eq!(session.rung(), rung);
    let truth = load(16);
    let profile = session.stop().unwrap();
    let stats = profile.stats();
    assert!(stats.samples > 400, "{} samples", stats.samples);
    let complete = stats.complete_stacks as f64 / stats.samples as f64;
    assert!(complete >= 0.99, "{complete} of the stacks reach their thread's start");
    let weighed = sampled_ns(&profile) / stats.cpu_time.as_nanos() as f64;
    eprintln!(
        "{rung}: {} samples, {complete:.4} complete, weights {weighed:.4} of the CPU time",
        stats.samples
    );
    assert!((0.95..=1.05).contains(&weighed), "the weights come to {weighed} of the CPU time");
    assert_eq!(stats.dropped.iter().map(|(_, count)| count).sum::<u64>(), 0);

    let share = |totals: &Truth, tenant| {
        totals.get(tenant).copied().unwrap_or(0) as f64 / totals.values().sum::<u64>() as f64
    };
    let sampled = sampled_by_tenant(&profile);
    for tenant in ["large", "middle", "small"] {
        let (sampled, truth) = (share(&sampled, tenant), share(&truth, tenant));
        eprintln!("{tenant}: sampled {sampled:.3}, truth {truth:.3}");
        assert!((sampled - truth).abs() < 0.05, "{tenant}: {sampled} sampled, {truth} in truth");
    }
    check_stacks(&profile);
}

fn sampled_by_tenant(profile: &Profile) -> Truth {
    let name = |value: String| ["large", "middle", "small"].into_iter().find(|tenant| *tenant == value);
    let totals = profile.label_totals("tenant").into_iter();
    totals.filter_map(|(value, total)| Some((name(value)?, total as u64))).collect()
}

/// Each stack within the query leads from the thread's start through the test's functions, by their names.
fn check_stacks(profile: &Profile) {
    let mut folded = Vec::new();
    profile.by_label("tenant").write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let mut in_query = 0;
    for line in folded.lines().filter(|line| line.starts_with("tenant: large;")) {
        // Of time in a kernel that is not seen no more is known than whose it is.
        if line.contains("[kernel, not permitted]") {
            continue;
        }
        let place = |name: &str| line.find(name).unwrap_or_else(|| panic!("{name} is missing in {line}"));
        assert!(place("thread_start") < place("cpu::work_shift"), "{line}");
        assert!(place("cpu::work_shift") < place("cpu::burn_for"), "{line}");
        in_query += 1;
    }
    assert!(in_query > 0, "{folded}");
}

#[test]
fn perf_agrees_with_the_truth() {
    if is_child() {
        return check_against_truth("perf-sigtrap");
    }
    if let Some(why) = perf_refused() {
        return skip("the perf rung", &why);
    }
    succeed(child("perf_agrees_with_the_truth").env("STAGELIGHT_CPU_RUNG", "perf-sigtrap"));
}

#[test]
fn ctimer_agrees_with_the_truth() {
    if is_child() {
        return check_against_truth("ctimer");
    }
    succeed(child("ctimer_agrees_with_the_truth").env("STAGELIGHT_CPU_RUNG", "ctimer"));
}

#[test]
fn setsig_agrees_with_the_truth() {
    if is_child() {
        return check_against_truth("perf-setsig");
    }
    if let Some(why) = refused("perf-setsig") {
        return skip("the F_SETSIG rung", &why);
    }
    succeed(child("setsig_agrees_with_the_truth").env("STAGELIGHT_CPU_RUNG", "perf-setsig"));
}

#[test]
fn the_sampler_thread_agrees_with_the_truth() {
    if is_child() {
        return check_against_truth("sampler-thread");
    }
    succeed(child("the_sampler_thread_agrees_with_the_truth").env("STAGELIGHT_CPU_RUNG", "sampler-thread"));
}

/// The weights come to what the threads' own clocks say, at a low rate and a high one, with a thread and with more than
/// there are cores.
#[test]
fn weights_come_to_the_cpu_time_on_every_rung() {
    if is_child() {
        for (threads, hz) in [(1, 99), (4, 99), (1, 999), (4, 999)] {
            let session = cpu().hz(hz).start().unwrap();
            let truth = std::sync::atomic::AtomicU64::new(0);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        burn_for("weighed", 1_000_000_000);
                        truth.fetch_add(thread_cpu_ns(), std::sync::atomic::Ordering::Relaxed);
                    });
                }
            });
            let profile = session.stop().unwrap();
            let sampled = profile.label_totals("tenant")[0].1 as f64;
            let weighed = sampled / truth.into_inner() as f64;
            let stats = profile.stats();
            eprintln!("{}, {threads} threads, {hz} Hz: {} samples, {weighed:.4}", stats.rung, stats.samples);
            // A timer's first expiry falls anywhere within a period, for each thread, and its signal may come late.
            let allowed = 0.05 + if stats.rung == "ctimer" { 2.0 / f64::from(hz) } else { 0.0 };
            assert!((weighed - 1.0).abs() < allowed, "{}, {threads} threads, {hz} Hz: {weighed}", stats.rung);
        }
        return;
    }
    for rung in RUNGS {
        match refused(rung) {
            Some(why) => skip(&format!("weights on {rung}"), &why),
            None => {
                succeed(child("weights_come_to_the_cpu_time_on_every_rung").env("STAGELIGHT_CPU_RUNG", rung));
            }
        }
    }
}

#[test]
fn perf_without_privileges_agrees_with_the_truth() {
    if is_child() {
        let _ = std::env::set_current_dir("/");
        return check_against_truth("perf-sigtrap-user");
    }
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return skip("the perf rung for another user", "only root can become one");
    }
    if paranoid.trim() != "2" || perf_refused().is_some() {
        return skip(
            "the perf rung for another user",
            &format!("kernel.perf_event_paranoid is {}", paranoid.trim()),
        );
    }
    let test = "perf_without_privileges_agrees_with_the_truth";
    as_nobody(test, |command| {
        succeed(command.env("STAGELIGHT_CPU_RUNG", "perf-sigtrap"));
    });
}

/// Why perf events can't be had here, if they can't.
fn perf_refused() -> Option<String> {
    refused("perf-sigtrap")
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

#[test]
fn a_container_that_forbids_perf_gets_the_timers() {
    if is_child() {
        forbid(&[libc::SYS_perf_event_open]);
        let profile = cpu().duration(Duration::from_millis(300)).run().unwrap();
        assert_eq!(profile.stats().rung, "ctimer");
        let refused = &profile.stats().rungs_refused;
        assert!(refused[0].starts_with("perf-sigtrap: "), "{refused:?}");
        assert!(refused[1].starts_with("perf-setsig: "), "{refused:?}");
        assert!(profile.stats().rung_limits.contains("tick"), "{:?}", profile.stats());
        return;
    }
    succeed(child("a_container_that_forbids_perf_gets_the_timers").env_remove("STAGELIGHT_CPU_RUNG"));
}

#[test]
fn where_timers_are_forbidden_too_a_thread_takes_the_samples() {
    if is_child() {
        forbid(&[libc::SYS_perf_event_open, libc::SYS_timer_create]);
        return check_against_truth("sampler-thread");
    }
    let test = "where_timers_are_forbidden_too_a_thread_takes_the_samples";
    succeed(child(test).env_remove("STAGELIGHT_CPU_RUNG"));
}

#[test]
fn where_all_is_forbidden_the_error_says_what_to_allow_and_recording_goes_on() {
    if is_child() {
        forbid(&[libc::SYS_perf_event_open, libc::SYS_timer_create, libc::SYS_tgkill]);
        for _ in 0..2 {
            let error = cpu().start().unwrap_err();
            assert!(matches!(error, Error::Refused(_)), "{error}");
            let text = error.to_string();
            assert!(text.contains("CAP_PERFMON") && text.contains("RLIMIT_SIGPENDING"), "{text}");
        }
        burn_for("still", 1000);
        assert!(stagelight::snapshot().tenants.iter().any(|tenant| tenant.value == "still"));
        return;
    }
    let test = "where_all_is_forbidden_the_error_says_what_to_allow_and_recording_goes_on";
    succeed(child(test).env_remove("STAGELIGHT_CPU_RUNG"));
}

#[test]
fn bad_settings_are_refused_with_the_range() {
    for hz in [0, 5000, u32::MAX] {
        let error = cpu().hz(hz).start().unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("1 to 4999"), "{error}");
    }
    for seconds in [0, 3601, u64::MAX] {
        let error = cpu().duration(Duration::from_secs(seconds)).run().unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("0.01 to 3600"), "{error}");
    }
    let error = {
        let output = child("probe").env("STAGELIGHT_CPU_RUNG", "psychic").output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(error.contains("auto, perf-sigtrap, perf-setsig, ctimer or sampler-thread"), "{error}");
}

#[test]
fn one_profile_runs_at_a_time_and_the_next_starts_afresh() {
    if !is_child() {
        succeed(&mut child("one_profile_runs_at_a_time_and_the_next_starts_afresh"));
        return;
    }
    let first = cpu().owner("the first").start().unwrap();
    let error = cpu().start().unwrap_err();
    assert!(matches!(error, Error::Busy(_)) && error.to_string().contains("the first"), "{error}");
    drop(first);
    for _ in 0..3 {
        let second = cpu().hz(999).start().unwrap();
        burn_for("second", 100_000_000);
        let profile = second.stop().unwrap();
        assert_eq!(profile.label_totals("tenant")[0].0, "second");
        assert!(profile.stats().samples < 400, "a profile holds its own samples alone");
    }
}

#[test]
fn a_host_that_installs_a_handler_of_its_own_gets_its_signals_once() {
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

    type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    static SEEN: AtomicU32 = AtomicU32::new(0);
    static FORMER: AtomicUsize = AtomicUsize::new(0);

    /// Passes on to what was there before, as a well-behaved library does.
    extern "C" fn host(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        SEEN.fetch_add(1, Ordering::Relaxed);
        let former = FORMER.load(Ordering::Relaxed);
        if former != libc::SIG_DFL {
            // SAFETY: the only other handler is Stagelight's, which has this type.
            unsafe { std::mem::transmute::<usize, Handler>(former)(signal, info, context) };
        }
    }

    let test = "a_host_that_installs_a_handler_of_its_own_gets_its_signals_once";
    if !is_child() {
        for rung in RUNGS.into_iter().filter(|rung| refused(rung).is_none()) {
            succeed(child(test).env("STAGELIGHT_CPU_RUNG", rung));
        }
        return;
    }
    let traps = cpu().start().unwrap().rung().starts_with("perf-sigtrap");
    let signal = if traps { libc::SIGTRAP } else { libc::SIGURG };
    // SAFETY: the handler has the type that the flags say.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = host as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        let mut former: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, &raw const action, &raw mut former);
        FORMER.store(former.sa_sigaction, Ordering::Relaxed);
    }
    let session = cpu().hz(99).start().unwrap();
    for expected in 1..=40 {
        // SAFETY: a signal that has a handler.
        unsafe { libc::raise(signal) };
        assert_eq!(SEEN.load(Ordering::Relaxed), expected);
        burn_for("host", 10_000_000);
    }
    let profile = session.stop().unwrap();
    let stats = profile.stats();
    assert!(stats.samples > 20 && SEEN.load(Ordering::Relaxed) == 40, "{SEEN:?}: {stats:?}");
    assert!((0.8..=1.2).contains(&weighed(&profile, "host", 400_000_000)), "{stats:?}");
}

#[test]
fn threads_with_little_stack_are_sampled_and_survive() {
    let test = "threads_with_little_stack_are_sampled_and_survive";
    if !is_child() {
        for rung in RUNGS.into_iter().filter(|rung| refused(rung).is_none()) {
            succeed(child(test).env("STAGELIGHT_CPU_RUNG", rung));
        }
        return;
    }
    const STACK: usize = 256 << 10;
    // What the work itself and the handler take in a debug build; in a release build 8 KiB do.
    const LEFT: usize = 28 << 10;

    /// Goes down its stack until little is left, and works there.
    #[inline(never)]
    fn descend(start: usize) {
        let frame = std::hint::black_box([0_u8; 2048]);
        if start - frame.as_ptr() as usize >= STACK - LEFT {
            burn_for("little", 300_000_000);
        } else {
            descend(start);
        }
        std::hint::black_box(frame);
    }

    let session = cpu().hz(999).start().unwrap();
    let thread = std::thread::Builder::new().stack_size(STACK);
    let thread = thread.spawn(|| {
        // A thread's first touch allocates, for which a debug build of an allocator takes more than we leave it.
        burn_for("little", 1);
        let first = std::hint::black_box([0_u8; 1]);
        descend(first.as_ptr() as usize);
    });
    thread.unwrap().join().unwrap();
    let profile = session.stop().unwrap();
    assert_eq!(profile.label_totals("tenant")[0].0, "little");
    let stats = profile.stats();
    assert!(stats.samples > 10 && stats.complete_stacks >= stats.samples - 1, "{stats:?}");
}

/// Most of the time of a thread that has the kernel fill its memory is the kernel's.
#[test]
fn time_in_system_calls_is_told() {
    use std::io::Read as _;

    #[query(key = "reads", tenant = "kernel")]
    fn read(zeros: &mut std::fs::File, room: &mut [u8]) {
        zeros.read_exact(room).unwrap();
    }
    if !is_child() {
        for rung in ["auto", "ctimer"] {
            succeed(child("time_in_system_calls_is_told").env("STAGELIGHT_CPU_RUNG", rung));
        }
        return;
    }
    let session = cpu().hz(499).start().unwrap();
    let (mut zeros, mut room) = (std::fs::File::open("/dev/zero").unwrap(), vec![0; 4 << 20]);
    while thread_cpu_ns() < 1_000_000_000 {
        read(&mut zeros, &mut room);
    }
    let profile = session.stop().unwrap().filter("tenant", "kernel");
    let mut folded = Vec::new();
    profile.write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    let kernel: f64 = folded.lines().filter(|line| line.contains(";[kernel] ")).map(value).sum();
    let all: f64 = folded.lines().map(value).sum();
    assert!(kernel > 0.8 * all, "{kernel} of {all} in the kernel:\n{folded}");
    assert!(folded.lines().any(|line| line.contains("read;[kernel] ")), "{folded}");
    // And where nothing but the program runs, none is.
    let session = cpu().hz(499).start().unwrap();
    burn_for("own", 300_000_000);
    let mut folded = Vec::new();
    session.stop().unwrap().filter("tenant", "own").write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let kernel: f64 = folded.lines().filter(|line| line.contains("[kernel]")).map(value).sum();
    assert!(kernel < 0.2 * folded.lines().map(value).sum::<f64>(), "{folded}");
}

/// Burns CPU time below so many calls of itself.
#[inline(never)]
fn recurse(depth: u32) -> u32 {
    if depth == 0 {
        burn(200_000_000);
        return 0;
    }
    std::hint::black_box(recurse(std::hint::black_box(depth - 1)) + 1)
}

#[test]
fn a_stack_that_is_too_deep_is_cut_with_a_mark() {
    if !is_child() {
        succeed(&mut child("a_stack_that_is_too_deep_is_cut_with_a_mark"));
        return;
    }
    let session = cpu().hz(250).start().unwrap();
    std::thread::Builder::new().name("deep".into()).spawn(|| recurse(2_000)).unwrap().join().unwrap();
    let profile = session.stop().unwrap().filter("thread", "deep");
    let mut folded = Vec::new();
    profile.write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let marked: i64 = folded
        .lines()
        .filter(|line| line.starts_with("[cut, too deep];cpu::recurse;"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap() * 1000)
        .sum();
    assert!(marked as f64 > 0.9 * profile.total() as f64, "{marked} of {}:\n{folded}", profile.total());
}
