//! The clocks that the profiler reads, all in nanoseconds. Reading them allocates nothing and is async-signal-safe.

/// A clock that never goes back and is never 0.
#[cfg(unix)]
pub(crate) fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC).unwrap_or(1)
}

/// A clock that never goes back and is never 0.
#[cfg(not(unix))]
pub(crate) fn monotonic_ns() -> u64 {
    static ZERO: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    ZERO.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64 + 1
}

/// Since the machine was started, its sleep included: what the kernel notes of the start of a thread.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn since_boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME).unwrap_or(0)
}

/// The CPU time that the process used since it started; `None` where the system doesn't say.
pub(crate) fn process_cpu_ns() -> Option<u64> {
    #[cfg(unix)]
    return read(libc::CLOCK_PROCESS_CPUTIME_ID).ok();
    #[cfg(not(unix))]
    None
}

/// The CPU time of the calling thread.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn own_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// The CPU time of any thread of the process; `EINVAL` if it ended.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", feature = "heap")))]
pub(crate) fn thread_cpu_ns(tid: i32) -> std::io::Result<u64> {
    read(thread_cpu_clock(tid))
}

/// The kernel's number for the CPU clock of one thread: `MAKE_THREAD_CPUCLOCK(tid, CPUCLOCK_SCHED)`.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", feature = "heap")))]
pub(crate) fn thread_cpu_clock(tid: i32) -> libc::clockid_t {
    (!tid << 3) | 6
}

#[cfg(unix)]
fn read(clock: libc::clockid_t) -> std::io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours.
    match unsafe { libc::clock_gettime(clock, &raw mut time) } {
        0 => Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64),
        _ => Err(std::io::Error::last_os_error()),
    }
}
