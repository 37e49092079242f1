//! What the process as a whole uses, by what the system tells. Nothing where it doesn't.

use std::time::{Duration, SystemTime};

use super::cpu_time;

/// What the process uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessStats {
    /// CPU time since it started.
    pub(crate) cpu: Option<Duration>,
    /// When it started; within a hundredth of a second, and a second where the machine's clock was
    /// set since.
    pub(crate) started: Option<SystemTime>,
    /// Memory that is in RAM.
    pub(crate) resident_bytes: Option<u64>,
}

impl ProcessStats {
    /// Costs three small files and a system call.
    pub(crate) fn read() -> Self {
        Self {
            cpu: Some(cpu_time::process_ns()).filter(|&ns| ns > 0).map(Duration::from_nanos),
            started: started(),
            resident_bytes: resident_bytes(),
        }
    }
}

#[cfg(target_os = "linux")]
fn started() -> Option<SystemTime> {
    // "pid (name) S …": the name may hold anything. The start is the 22nd field, in ticks since the
    // machine's.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    let booted: u64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let since_boot = Duration::from_secs_f64(ticks as f64 / system(libc::_SC_CLK_TCK)? as f64);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(booted) + since_boot)
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(pages * system(libc::_SC_PAGESIZE)?)
}

#[cfg(target_os = "linux")]
fn system(name: libc::c_int) -> Option<u64> {
    // SAFETY: it only looks the value up.
    u64::try_from(unsafe { libc::sysconf(name) }).ok().filter(|&value| value > 0)
}

#[cfg(not(target_os = "linux"))]
fn started() -> Option<SystemTime> {
    None
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> Option<u64> {
    None
}
