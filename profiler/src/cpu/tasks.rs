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
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("TracerPid:")).is_some_and(|pid| pid.trim() != "0")
}

/// CPU time in nanoseconds by one of the clocks that the kernel keeps: `CLOCK_THREAD_CPUTIME_ID` for the calling
/// thread, `CLOCK_PROCESS_CPUTIME_ID` for all. Async-signal-safe.
pub(super) fn cpu_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
