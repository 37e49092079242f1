//! The kernel's part of the CPU time, against what the kernel accounts, on every rung.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::Read as _;

use stagelight::query;
use stagelight_profiler::{Profile, cpu};
use stagelight_tests::cpu::{RUNGS, as_nobody, refused};
use stagelight_tests::{burn, child, is_child, skip, succeed, thread_cpu_ns};

/// Each load takes that much of its thread's CPU time.
const NS: u64 = 1_500_000_000;

/// Has the kernel give the same memory again and again, page by page as it is touched.
#[query(name = "kernel.fault", key = "fault", tenant = "faults")]
fn fault(ns: u64) {
    const BYTES: usize = 4 << 20;
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, written within its bounds and then taken away.
    unsafe {
        let room = libc::mmap(std::ptr::null_mut(), BYTES, access, kind, -1, 0).cast::<u8>();
        assert!(room.cast() != libc::MAP_FAILED);
        libc::madvise(room.cast(), BYTES, libc::MADV_NOHUGEPAGE);
        let end = thread_cpu_ns() + ns;
        while thread_cpu_ns() < end {
            (0..BYTES).step_by(4096).for_each(|place| room.add(place).write_volatile(1));
            libc::madvise(room.cast(), BYTES, libc::MADV_DONTNEED);
        }
        libc::munmap(room.cast(), BYTES);
    }
}

/// Has the kernel fill memory.
#[query(name = "kernel.read", key = "read", tenant = "reads")]
fn read(ns: u64) {
    let (mut zeros, mut room) = (std::fs::File::open("/dev/zero").unwrap(), vec![0; 256 << 10]);
    let end = thread_cpu_ns() + ns;
    while thread_cpu_ns() < end {
        zeros.read_exact(&mut room).unwrap();
    }
}

#[query(name = "kernel.own", key = "own", tenant = "own")]
fn own(ns: u64) {
    burn(ns);
}

/// User and system time in nanoseconds, of the calling thread or of the process.
fn accounted(who: libc::c_int) -> [f64; 2] {
    // Brings the account up to date.
    let _ = thread_cpu_ns();
    // SAFETY: all-zero is a valid `rusage`, which the call writes to.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(who, &raw mut usage), 0);
        usage
    };
    [usage.ru_utime, usage.ru_stime].map(|time| time.tv_sec as f64 * 1e9 + time.tv_usec as f64 * 1e3)
}

/// The process's user and system time by `/proc/self/stat`, in nanoseconds, less that of the profiler's
/// threads, which a profile leaves out.
fn stat() -> [f64; 2] {
    // SAFETY: sysconf has no preconditions.
    let tick = 1e9 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let times = |stat: &str| {
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        [11, 12].map(|field| fields[field].parse::<f64>().unwrap() * tick)
    };
    let mut all = times(&std::fs::read_to_string("/proc/self/stat").unwrap());
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end meanwhile.
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        if stat.contains("(stagelight-") {
            all.iter_mut().zip(times(&stat)).for_each(|(all, own)| *all -= own);
        }
    }
    all
}

fn stacks(profile: &Profile) -> Vec<(String, f64)> {
    let mut folded = Vec::new();
    profile.write_folded(&mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();
    let line = |line: &str| {
        line.rsplit_once(' ').map(|(stack, us)| (stack.to_owned(), us.parse::<f64>().unwrap() * 1e3))
    };
    folded.lines().filter_map(line).collect()
}

/// The share of a profile in stacks that fulfil a condition.
fn share(profile: &Profile, condition: impl Fn(&str) -> bool) -> f64 {
    let stacks = stacks(profile);
    let all: f64 = stacks.iter().map(|(_, ns)| ns).sum();
    stacks.iter().filter(|(stack, _)| condition(stack)).map(|(_, ns)| ns).sum::<f64>() / all
}

fn in_kernel(stack: &str) -> bool {
    stack.contains("[kernel")
}

/// Takes a profile of threads that fault, read and run, and holds it against the kernel's own figures.
fn check(kernel_frames: bool) {
    let builder = if kernel_frames { cpu().kernel_frames() } else { cpu() };
    let session = builder.hz(499).start().unwrap();
    // What it took to start it is not in it, and what it takes to name functions neither.
    let before = stat();
    let rung = session.rung().to_owned();
    let loads = [("faults", fault as fn(u64)), ("reads", read), ("own", own)];
    let truths = loads.map(|(tenant, load)| {
        let work = move || {
            load(NS);
            let [user, system] = accounted(libc::RUSAGE_THREAD);
            system / (user + system)
        };
        (tenant, std::thread::spawn(work).join().unwrap())
    });
    let after = stat();
    let profile = session.stop().unwrap();
    for (tenant, truth) in truths {
        let part = profile.filter("tenant", tenant);
        let kernel = share(&part, in_kernel);
        eprintln!("{rung}: {tenant}: {kernel:.3} in the kernel, {truth:.3} by its account");
        assert!(
            (kernel - truth).abs() < 0.06,
            "{rung}: {tenant}: {kernel} in the kernel, {truth} by its account"
        );
    }
    let [user, system] = [0, 1].map(|index| after[index] - before[index]);
    let [kernel, truth] = [share(&profile, in_kernel), system / (user + system)];
    eprintln!("{rung}: {kernel:.3} of the process in the kernel, {truth:.3} by /proc/self/stat");
    // Both are samples: the kernel looks at its ticks, at least 100 a second. Three standard deviations.
    let allowed = 3.0 * (0.25 / ((user + system) / 1e7)).sqrt();
    assert!(
        (kernel - truth).abs() < allowed,
        "{rung}: {kernel} in the kernel, {truth} by /proc/self/stat, {allowed} allowed"
    );
    assert!(truth > 0.2, "{truth} of the process in the kernel");

    let (faults, reads) = (profile.filter("tenant", "faults"), profile.filter("tenant", "reads"));
    if rung.ends_with("-user") || rung == "perf-setsig" {
        assert!(share(&faults, |stack| stack.contains("[kernel, not permitted]")) > 0.4);
        return;
    }
    // A fault stands on the function that touched the memory, a system call on the one that made it.
    let uncalled = |stack: &str| {
        stack.contains("kernel_time::fault;") && stack.ends_with(";[kernel, fault or interrupt]")
            || kernel_frames && stack.contains(";[kernel];")
    };
    let faulted = share(&faults, uncalled);
    assert!(faulted > 0.4, "{rung}: {faulted} in page faults");
    let called = share(&reads, |stack| stack.contains(";[kernel]"));
    let all = share(&reads, in_kernel);
    assert!(called > 0.85 * all, "{rung}: {called} of {all} in system calls");
}

#[test]
fn the_kernels_part_is_what_the_kernel_accounts() {
    let test = "the_kernels_part_is_what_the_kernel_accounts";
    if is_child() {
        return check(std::env::var_os("KERNEL_FRAMES").is_some());
    }
    for rung in RUNGS {
        match refused(rung) {
            Some(why) => skip(&format!("the kernel's part on {rung}"), &why),
            None => drop(succeed(child(test).env("STAGELIGHT_CPU_RUNG", rung))),
        }
    }
    succeed(child(test).env("STAGELIGHT_CPU_RUNG", "auto").env("KERNEL_FRAMES", "1"));
}

#[test]
fn the_kernels_part_is_known_without_privileges() {
    if is_child() {
        return check(false);
    }
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return skip("the kernel's part for another user", "only root can become one");
    }
    as_nobody("the_kernels_part_is_known_without_privileges", |command| {
        succeed(command.env("STAGELIGHT_CPU_RUNG", "auto"));
    });
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
