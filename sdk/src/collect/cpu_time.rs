//! CPU time by the system's clocks, in nanoseconds. 0 where there are none: so nothing seems to have been used.

/// What the process has used since it started.
pub(crate) fn process_ns() -> u64 {
    #[cfg(unix)]
    {
        read(libc::CLOCK_PROCESS_CPUTIME_ID)
    }
    #[cfg(not(unix))]
    0
}

/// What the calling thread has used since it started.
pub(crate) fn own_thread_ns() -> u64 {
    #[cfg(unix)]
    {
        read(libc::CLOCK_THREAD_CPUTIME_ID)
    }
    #[cfg(not(unix))]
    0
}

/// The calling thread's id; 0 where other threads' clocks can't be read.
pub(crate) fn own_thread() -> u32 {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: it has no preconditions.
        unsafe { libc::gettid() as u32 }
    }
    #[cfg(not(target_os = "linux"))]
    0
}

/// What another thread of the process has used since it started; 0 if it ended.
pub(crate) fn thread_ns(thread: u32) -> u64 {
    #[cfg(target_os = "linux")]
    {
        // The kernel's number for the CPU clock of one thread: MAKE_THREAD_CPUCLOCK(tid,
        // CPUCLOCK_SCHED).
        read((!(thread as i32) << 3) | 6)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = thread;
        0
    }
}

#[cfg(unix)]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
