//! CPU profiles with the kernel's own functions, and where the kernel does not show them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stagelight::query;
use stagelight_profiler::{Profile, cpu};
use stagelight_tests::cpu::{as_nobody, refused};
use stagelight_tests::totals::sampled_ns;
use stagelight_tests::{burn, child, is_child, skip, succeed, thread_cpu_ns};

/// Has the kernel fill memory for that much of the thread's CPU time.
#[query(key = "read", tenant = "reads")]
fn read_zeros(ns: u64) {
    let (mut zeros, mut room) = (std::fs::File::open("/dev/zero").unwrap(), vec![0; 256 << 10]);
    let end = thread_cpu_ns() + ns;
    while thread_cpu_ns() < end {
        zeros.read_exact(&mut room).unwrap();
    }
}

/// Has the kernel give memory, page by page as it is touched.
#[query(key = "touch", tenant = "touches")]
fn touch_pages(ns: u64) {
    const BYTES: usize = 4 << 20;
    let end = thread_cpu_ns() + ns;
    while thread_cpu_ns() < end {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, written within its bounds and then taken away.
        unsafe {
            let room = libc::mmap(std::ptr::null_mut(), BYTES, access, kind, -1, 0).cast::<u8>();
            assert!(room.cast() != libc::MAP_FAILED);
            (0..BYTES).step_by(4096).for_each(|place| room.add(place).write_volatile(1));
            libc::munmap(room.cast(), BYTES);
        }
    }
}

#[query(key = "burn", tenant = "burns")]
fn burn_in_stage(ns: u64) {
    burn(ns);
}

/// Not a test of its own: tells its parent why a profile has no functions of the kernel, if it has none.
#[test]
fn probe() {
    if !is_child() {
        return;
    }
    match cpu().kernel_frames().duration(Duration::from_millis(20)).run() {
        Ok(profile) if profile.stats().rung == "perf-sigtrap-kernel" => {}
        Ok(profile) => println!("refused: {}", profile.stats().rungs_refused[0]),
        Err(error) => println!("refused: {error}"),
    }
}

/// Runs a test as a child, if functions of the kernel can be had.
fn if_permitted(test: &str) {
    match refused("auto") {
        Some(why) => skip(test, &why),
        None => drop(succeed(child(test).env_remove("STAGELIGHT_CPU_RUNG"))),
    }
}

/// The stacks of a tenant's samples with their values.
fn stacks(profile: &Profile, tenant: &str) -> Vec<(String, f64)> {
    let mut folded = Vec::new();
    profile.filter("tenant", tenant).write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let line =
        |line: &str| line.rsplit_once(' ').map(|(stack, value)| (stack.to_owned(), value.parse().unwrap()));
    folded.lines().filter_map(line).collect()
}

/// The share of a tenant's time in stacks that fulfil a condition.
fn share(stacks: &[(String, f64)], condition: impl Fn(&str) -> bool) -> f64 {
    let all: f64 = stacks.iter().map(|(_, value)| value).sum();
    stacks.iter().filter(|(stack, _)| condition(stack)).map(|(_, value)| value).sum::<f64>() / all
}

fn dropped(profile: &Profile, cause: &str) -> Option<u64> {
    profile.stats().dropped.iter().find(|(name, _)| *name == cause).map(|(_, count)| *count)
}

/// The rings that are mapped.
fn rings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("perf_event")).count()
}

/// Says that it is over when dropped, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the profile could name what it found.
fn has_names(profile: &Profile) -> bool {
    match profile.stats().rungs_refused.iter().find(|reason| reason.starts_with("names of kernel functions"))
    {
        Some(why) => {
            skip("names of kernel functions", why);
            false
        }
        None => true,
    }
}

#[test]
fn functions_of_the_kernel_stand_on_those_that_called_it_or_ran_into_it() {
    if !is_child() {
        return if_permitted("functions_of_the_kernel_stand_on_those_that_called_it_or_ran_into_it");
    }
    assert_eq!(rings(), 0);
    let session = cpu().hz(999).kernel_frames().start().unwrap();
    assert!(rings() >= 2, "one for each thread: {}", rings());
    read_zeros(500_000_000);
    touch_pages(500_000_000);
    burn_in_stage(300_000_000);
    let profile = session.stop().unwrap();
    let stats = profile.stats();
    assert_eq!((rings(), stats.rung.as_str()), (0, "perf-sigtrap-kernel"), "{stats:?}");
    assert_eq!(
        (dropped(&profile, "kernel_frames_missed"), dropped(&profile, "kernel_frames_lost")),
        (Some(0), Some(0))
    );
    let complete = stats.complete_stacks as f64 / stats.samples as f64;
    assert!(complete > 0.98, "{complete} of {} stacks are complete", stats.samples);

    let reads = stacks(&profile, "reads");
    let within = share(&reads, |stack| stack.contains(";[kernel]"));
    let known = share(&reads, |stack| stack.contains(";[kernel];"));
    eprintln!("reads: {within:.3} of the time in the kernel, {known:.3} with functions of it");
    assert!(within > 0.8 && known > 0.98 * within, "{reads:?}");
    let touches = stacks(&profile, "touches");
    let faults = share(&touches, |stack| stack.contains(";[kernel];"));
    assert!(faults > 0.6, "{faults} of what touches memory: {touches:?}");
    let burns = stacks(&profile, "burns");
    let kernel = share(&burns, |stack| stack.contains("[kernel]"));
    assert!(kernel < 0.3, "{kernel} of what burns by itself: {burns:?}");
    if has_names(&profile) {
        let inside = share(&reads, |stack| {
            stack.split_once(";[kernel];").is_some_and(|(outer, inner)| {
                outer.contains("read_zeros") && inner.contains("vfs_read") && !inner.contains("+0x")
            })
        });
        assert!(inside > 0.7, "{inside} lead through the kernel's reading: {reads:?}");
        let fault = share(&touches, |stack| {
            stack.split_once(";[kernel];").is_some_and(|(outer, inner)| {
                outer.ends_with("touch_pages")
                    || outer.contains("touch_pages") && inner.contains("page_fault")
            })
        });
        assert!(fault > 0.6, "{fault} lead through the kernel's page faults: {touches:?}");
    }
    // The same without: nothing is mapped, and the kernel is one frame.
    let session = cpu().hz(999).start().unwrap();
    assert_eq!(rings(), 0);
    read_zeros(200_000_000);
    let profile = session.stop().unwrap();
    assert!(share(&stacks(&profile, "reads"), |stack| stack.contains("[kernel];")) == 0.0);
    assert_eq!(dropped(&profile, "kernel_frames_missed"), None);
}

#[test]
fn threads_that_come_and_go_are_weighed_and_have_functions_of_the_kernel() {
    if !is_child() {
        return if_permitted("threads_that_come_and_go_are_weighed_and_have_functions_of_the_kernel");
    }
    for (threads, hz) in [(1_u64, 99_u32), (4, 999)] {
        let session = cpu().hz(hz).kernel_frames().start().unwrap();
        let truth = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..3 {
                        // One after another, each new to the profile; some in no stage.
                        std::thread::scope(|scope| {
                            scope.spawn(|| {
                                read_zeros(250_000_000);
                                truth.fetch_add(thread_cpu_ns(), Ordering::Relaxed);
                            });
                        });
                        // Longer than it takes to find one that enters no stage.
                        std::thread::spawn(|| burn(250_000_000)).join().unwrap();
                    }
                });
            }
        });
        let profile = session.stop().unwrap();
        let stats = profile.stats();
        let reads = stacks(&profile, "reads");
        let sampled = profile.filter("tenant", "reads").total() as f64;
        let truth = truth.into_inner() as f64;
        let (all, cpu_time) = (sampled_ns(&profile), stats.cpu_time.as_nanos() as f64);
        // What a thread does after its last sample, less than a period, is in none.
        let ends = |threads| threads as f64 * 1e9 / f64::from(hz);
        let known = share(&reads, |stack| stack.contains(";[kernel];"));
        eprintln!(
            "{threads} threads, {hz} Hz: {} samples, {:.4} and {:.4} of the CPU time, {known:.3} with functions",
            stats.samples,
            sampled / truth,
            all / cpu_time
        );
        assert!(sampled < 1.05 * truth && all < 1.05 * cpu_time, "{sampled} of {truth}, {all}: {stats:?}");
        assert!(sampled + ends(3 * threads) > 0.95 * truth, "{sampled} of {truth}: {stats:?}");
        // Those that burn, those that start both kinds, and the profile's own.
        assert!(all + ends(8 * threads) > 0.95 * cpu_time, "{all}: {stats:?}");
        assert!(known > 0.8, "{known}: {reads:?}");
        assert_eq!(stats.dropped.iter().map(|(_, count)| count).sum::<u64>(), 0, "{stats:?}");
    }
}

#[test]
fn of_a_system_call_of_many_periods_one_part_stands_for_all_and_the_others_are_counted() {
    let test = "of_a_system_call_of_many_periods_one_part_stands_for_all_and_the_others_are_counted";
    if !is_child() {
        return if_permitted(test);
    }
    /// One call for all of it, some 100 ms: hundreds of periods, and one signal.
    #[query(key = "draw", tenant = "draws")]
    fn draw(room: &mut [u8]) {
        // SAFETY: the kernel writes to our room, and no more than it has.
        assert!(unsafe { libc::getrandom(room.as_mut_ptr().cast(), room.len(), 0) } > 0);
    }
    let mut room = vec![1; 32 << 20];
    let session = cpu().hz(4999).kernel_frames().start().unwrap();
    let start = thread_cpu_ns();
    for _ in 0..8 {
        draw(&mut room);
    }
    let truth = thread_cpu_ns() - start;
    let profile = session.stop().unwrap();
    let weighed = profile.filter("tenant", "draws").total() as f64 / truth as f64;
    let draws = stacks(&profile, "draws");
    let known = share(&draws, |stack| stack.contains(";[kernel];"));
    let lost = dropped(&profile, "kernel_frames_lost").unwrap();
    eprintln!(
        "{} samples, {lost} lost, {weighed:.3} of the CPU time, {known:.3} with functions",
        profile.stats().samples
    );
    assert!((0.9..=1.1).contains(&weighed) && known > 0.9, "{weighed}, {known}: {draws:?}");
    assert!(lost > 100, "{lost}: {:?}", profile.stats());
}

#[test]
fn profiles_that_begin_and_end_under_load_harm_nobody() {
    if !is_child() {
        return if_permitted("profiles_that_begin_and_end_under_load_harm_nobody");
    }
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&end);
        for _ in 0..3 {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    std::thread::scope(|scope| drop(scope.spawn(|| read_zeros(5_000_000))));
                }
            });
        }
        let mut samples = 0;
        for round in 0..60 {
            let session = cpu().hz(4999).kernel_frames().start().unwrap();
            std::thread::sleep(Duration::from_millis(20 + round % 7));
            // Names take longest.
            if round % 20 == 0 {
                samples += session.stop().unwrap().stats().samples;
            }
        }
        assert!(samples > 20, "{samples}");
    });
    assert_eq!(rings(), 0);
}

/// Takes one of its capabilities from the calling thread, and from those that it starts.
fn give_up(capability: u32) {
    /// Sets of 64 bits, each in two halves. Source: capset(2).
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    // Effective, permitted and inheritable; and the same of the upper half.
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: the structures are ours, and of the version's size.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()), 0);
        sets[capability as usize / 32].iter_mut().for_each(|set| *set &= !(1 << (capability % 32)));
        assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()), 0);
    }
}

#[test]
fn where_names_are_hidden_there_are_addresses_and_the_reason() {
    const CAP_SYSLOG: u32 = 34;
    if !is_child() {
        return if_permitted("where_names_are_hidden_there_are_addresses_and_the_reason");
    }
    give_up(CAP_SYSLOG);
    let table = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    if table.lines().any(|line| line.starts_with("ffffffff")) {
        return skip("hidden names of kernel functions", "this kernel shows them to everyone");
    }
    let session = cpu().hz(999).kernel_frames().start().unwrap();
    read_zeros(300_000_000);
    let profile = session.stop().unwrap();
    let stats = profile.stats();
    assert_eq!(stats.rung, "perf-sigtrap-kernel");
    assert!(stats.rungs_refused.iter().any(|reason| reason.contains("CAP_SYSLOG")), "{stats:?}");
    let reads = stacks(&profile, "reads");
    let addresses = share(&reads, |stack| stack.contains(";[kernel];[kernel.kallsyms]+0xffff"));
    assert!(addresses > 0.7, "{addresses}: {reads:?}");
}

#[test]
fn threads_for_which_there_is_no_memory_are_sampled_without_and_counted() {
    const CAP_IPC_LOCK: u32 = 14;
    let test = "threads_for_which_there_is_no_memory_are_sampled_without_and_counted";
    if !is_child() {
        return if_permitted(test);
    }
    give_up(CAP_IPC_LOCK);
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is ours.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const none) }, 0);
    let number = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap();
    // What the kernel allows each user beyond the limit, for all processors together.
    let allowed: usize = number("perf_event_mlock_kb").trim().parse().unwrap();
    let allowed = allowed * std::thread::available_parallelism().unwrap().get() / 8;
    if allowed > 2000 || number("perf_event_paranoid").trim() == "-1" {
        return skip(test, "this kernel allows more than can be used up");
    }
    let (there, end) = (AtomicU64::new(0), AtomicBool::new(false));
    let count = allowed + 50;
    std::thread::scope(|scope| {
        let _end = End(&end);
        for _ in 0..count {
            scope.spawn(|| {
                there.fetch_add(1, Ordering::Relaxed);
                while !end.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        while there.load(Ordering::Relaxed) < count as u64 {
            std::thread::yield_now();
        }
        let session = cpu().hz(499).kernel_frames().start().unwrap();
        // This one has none, since it comes when there is no memory left; but where another process of the same user has just
        // given some back.
        let truth = scope.spawn(|| {
            read_zeros(500_000_000);
            thread_cpu_ns()
        });
        let truth = truth.join().unwrap();
        let profile = session.stop().unwrap();
        let missed = dropped(&profile, "kernel_frames_missed").unwrap();
        eprintln!("{missed} of {count} threads without a ring");
        assert!((50..=count as u64).contains(&missed), "{missed} of {count}");
        assert_eq!(dropped(&profile, "threads_missed"), Some(0));
        let weighed = profile.filter("tenant", "reads").total() as f64 / truth as f64;
        assert!((0.9..=1.1).contains(&weighed), "{weighed}");
        let within = share(&stacks(&profile, "reads"), |stack| {
            stack.ends_with(";[kernel]") || stack.contains(";[kernel];")
        });
        assert!(within > 0.7, "{within} are told from the program's own time all the same");
    });
}

#[test]
fn a_user_without_privileges_gets_the_profile_without_them_and_the_reason() {
    let test = "a_user_without_privileges_gets_the_profile_without_them_and_the_reason";
    if is_child() {
        let session = cpu().hz(499).kernel_frames().start().unwrap();
        burn_in_stage(300_000_000);
        let profile = session.stop().unwrap();
        let stats = profile.stats();
        assert_ne!(stats.rung, "perf-sigtrap-kernel");
        let reason = &stats.rungs_refused[0];
        eprintln!("{}: {reason}", stats.rung);
        assert!(reason.starts_with("kernel frames: ") && reason.contains("CAP_PERFMON"), "{stats:?}");
        let weighed = profile.filter("tenant", "burns").total() as f64 / 3e8;
        assert!((0.8..=1.2).contains(&weighed), "{weighed}: {stats:?}");
        return;
    }
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return skip("kernel frames for another user", "only root can become one");
    }
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    if paranoid.trim().parse::<i32>().is_ok_and(|level| level <= 1) {
        return skip("kernel frames for another user", "kernel.perf_event_paranoid permits them to everyone");
    }
    as_nobody(test, |command| drop(succeed(command.env_remove("STAGELIGHT_CPU_RUNG"))));
}

#[test]
fn on_another_rung_the_profile_says_why_there_are_none() {
    let test = "on_another_rung_the_profile_says_why_there_are_none";
    if !is_child() {
        succeed(child(test).env("STAGELIGHT_CPU_RUNG", "ctimer"));
        return;
    }
    let session = cpu().hz(99).kernel_frames().start().unwrap();
    assert_eq!(session.rung(), "ctimer");
    let profile = session.stop().unwrap();
    assert!(profile.stats().rungs_refused[0].contains("perf-sigtrap"), "{:?}", profile.stats());
}
