//! What memory the process uses, and what it keeps.

use std::fs;
use std::hint::black_box;
use std::time::Duration;

/// Megabytes by a line of `/proc/self/status`, such as `VmRSS`.
pub fn megabytes(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib * 1024.0 / 1e6)
}

/// Sets the peak, `VmHWM`, back to what is used now.
pub fn forget_peak() {
    // Where it can't be set back the peak is the process's, and the bar harder.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Gives the allocator eleven seconds to give pages back, which it does some time after they were freed, as a program at work asks
/// for others.
pub fn settle() {
    for _ in 0..110 {
        std::thread::sleep(Duration::from_millis(100));
        (0..5_000).for_each(|size| drop(black_box(vec![0_u8; size])));
    }
}
