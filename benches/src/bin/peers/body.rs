//! The body that all variants share, small enough that only the cost of what is around it shows; and the two that ours is
//! held against: nothing around it, and the bare pair of clock reads.

use std::hint::black_box;

/// The same work in every variant.
macro_rules! body {
    ($value:expr) => {
        std::hint::black_box($value) + 1
    };
}
pub(crate) use body;

#[inline(never)]
pub fn plain(value: u64) -> u64 {
    body!(value)
}

/// What any timing must pay for.
#[inline(never)]
pub fn clock_pair(value: u64) -> u64 {
    let start = now();
    let value = body!(value);
    black_box(now() - start);
    value
}

/// The full stage: timed, with self time, histogram and allocated bytes, and published with its labels.
#[inline(never)]
#[stagelight::stage]
pub fn staged(value: u64) -> u64 {
    body!(value)
}

/// Runs `work` in a query, whose labels the stages below inherit.
#[stagelight::query(key = "select ?", tenant = "acme")]
pub fn in_query<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// The clock that the record path reads where the kernel trusts the TSC.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn now() -> u64 {
    // SAFETY: `rdtsc` is part of x86_64 and touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The clock that the record path reads elsewhere.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn now() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos() as u64
}
