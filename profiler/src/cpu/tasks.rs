//! The process's threads, as the kernel lists them.

/// The ids of all threads at this moment.
pub(super) fn list() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The calling thread's id.
pub(super) fn own() -> i32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }
}

/// Whether a debugger is attached: it would stop at every SIGTRAP.
pub(super) fn traced() -> bool {
    status_line("self", "TracerPid:").is_some_and(|pid| pid != "0")
}

/// How many signals of the process's user are pending, timers included, and how many may be.
pub(super) fn pending_signals() -> Option<(u64, u64)> {
    let line = status_line("self", "SigQ:")?;
    let (pending, limit) = line.split_once('/')?;
    Some((pending.parse().ok()?, limit.parse().ok()?))
}

/// How many threads block a signal at this moment. Reads a file for each.
pub(super) fn blocking(signal: libc::c_int) -> u64 {
    let blocks = |tid: &i32| {
        let mask = status_line(&format!("self/task/{tid}"), "SigBlk:");
        let mask = mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0);
        mask & (1 << (signal - 1)) != 0
    };
    let blocked: Vec<i32> = list().into_iter().filter(blocks).collect();
    if blocked.is_empty() {
        return 0;
    }
    // A thread that is being made blocks all signals for some microseconds.
    std::thread::sleep(std::time::Duration::from_millis(2));
    blocked.iter().filter(|tid| blocks(tid)).count() as u64
}

fn status_line(of: &str, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{of}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned())
}

/// The kernel's number for the CPU clock of one thread: `MAKE_THREAD_CPUCLOCK(tid, CPUCLOCK_SCHED)`.
pub(super) fn clock_of(tid: i32) -> libc::clockid_t {
    (!tid << 3) | 6
}

/// The CPU time of any thread of the process, in nanoseconds; `EINVAL` if it ended.
pub(super) fn thread_cpu_ns(tid: i32) -> std::io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours.
    match unsafe { libc::clock_gettime(clock_of(tid), &raw mut time) } {
        0 => Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// CPU time in nanoseconds by one of the clocks that the kernel keeps: `CLOCK_THREAD_CPUTIME_ID` for the calling
/// thread, `CLOCK_PROCESS_CPUTIME_ID` for all. Async-signal-safe.
pub(super) fn cpu_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
