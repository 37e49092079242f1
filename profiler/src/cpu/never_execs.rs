//! The promise of a process that it never execs.

use std::sync::atomic::{AtomicBool, Ordering};

static PROMISED: AtomicBool = AtomicBool::new(false);

/// Promises that this process never calls `exec` itself. Children that it forks or spawns may.
///
/// Profiles that see the kernel (off-CPU profiles, kernel frames, counters of the kernel, and CPU
/// samples that fall into the kernel) signal by a trap that outlives `exec` and would kill the
/// program that comes after. So they have the kernel leave out samples within `exec`, which takes
/// Linux 6.11, `CAP_BPF` and `CAP_PERFMON`. Where that can't be had they are refused, or see user
/// code alone, unless the process has made this promise. Breaking it may end the program that comes
/// after by SIGTRAP. It costs nothing and holds for profiles that start afterwards.
pub fn never_execs() {
    PROMISED.store(true, Ordering::Relaxed);
}

/// Whether it was made.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) fn promised() -> bool {
    PROMISED.load(Ordering::Relaxed)
}
