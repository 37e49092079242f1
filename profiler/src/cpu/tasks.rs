//! The process's threads, as the kernel lists them.

use crate::clock;
use std::time::Duration;

/// The ids of all threads at this moment.
pub(super) fn list() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a thread is still there. A list may leave one out that is, if another ended as it was made.
pub(super) fn alive(tid: i32) -> bool {
    clock::thread_cpu_ns(tid).is_ok()
}

/// Whether a thread started after a moment of `CLOCK_BOOTTIME`, to a hundredth of a second.
pub(super) fn started_after(tid: i32, moment_ns: u64) -> bool {
    started(tid).is_none_or(|started_ns| started_ns > moment_ns)
}

/// When a thread started, by `CLOCK_BOOTTIME` in nanoseconds: up to a hundredth of a second late.
pub(super) fn started(tid: i32) -> Option<u64> {
    // The name, which may hold anything, ends in the last parenthesis; of what follows this is the twentieth.
    const START: usize = 19;
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
    let ticks: u64 =
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(START)?.parse().ok())?;
    // SAFETY: sysconf has no preconditions.
    let a_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1);
    Some((ticks + 1) * (1_000_000_000 / a_second))
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

/// How many threads block a signal, and still do after `pause`: the C library blocks all for moments, as it starts a thread.
/// Reads a file for each thread.
pub(super) fn blocking(signal: libc::c_int, pause: Duration) -> u64 {
    let blocks = |tid: &i32| {
        let mask = status_line(&format!("self/task/{tid}"), "SigBlk:");
        let mask = mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0);
        mask & (1 << (signal - 1)) != 0
    };
    let mut tids = list();
    tids.retain(blocks);
    if !tids.is_empty() {
        // A thread that is being made blocks all signals for some microseconds.
        std::thread::sleep(pause);
        tids.retain(blocks);
    }
    tids.len() as u64
}

fn status_line(of: &str, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{of}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned())
}

/// The running kernel's version; (0, 0) if it does not say.
pub(super) fn kernel_version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
