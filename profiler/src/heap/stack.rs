//! Takes the stack of a sampled allocation, within the allocator.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pseudo_frame::{self, Context};
use crate::clock;

/// Allocations whose stack was taken.
pub(super) static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Time spent taking them, in nanoseconds, by those that are timed: one in so many, for two looks at the clock take as long as a
/// short walk. It counts for the others.
const TIMED: u64 = 16;
pub(super) static SPENT_NS: AtomicU64 = AtomicU64::new(0);

/// Those of which no stack could be taken, because more walks ran at once than there are caches. They count with
/// their labels alone.
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(super) static UNWINDER_BUSY: AtomicU64 = AtomicU64::new(0);

/// Writes the stack of the function into which this is inlined to `room`, with what the thread is in as the outermost frame,
/// and says how many addresses that are.
///
/// It allocates nothing and locks nothing.
#[inline(always)]
pub(super) fn take(room: &mut [u64]) -> usize {
    // SAFETY: errno is the thread's own.
    let errno = unsafe { *libc::__errno_location() };
    let Some((last, room)) = room.split_last_mut() else { return 0 };
    // Not the first, which finds everything cold.
    let timed = TAKEN.fetch_add(1, Ordering::Relaxed) % TIMED == TIMED / 2;
    let start = if timed { clock::monotonic_ns() } else { 0 };
    let (depth, complete) = walk(room);
    if timed {
        SPENT_NS.fetch_add(clock::monotonic_ns().saturating_sub(start) * TIMED, Ordering::Relaxed);
    }
    let label = pseudo_frame::encode(Context { context: stagelight::__private::current(), complete });
    match room.get_mut(depth) {
        Some(place) => *place = label,
        None => *last = label,
    }
    // SAFETY: errno is the thread's own.
    unsafe { *libc::__errno_location() = errno };
    depth + 1
}

/// How many frames there are, and whether the outermost is the thread's start.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn walk(room: &mut [u64]) -> (usize, bool) {
    use crate::unwind::{End, Registers, thread_hint, walk};

    if let (false, Some(place)) = (super::focus::wanted(), room.first_mut()) {
        *place = crate::profile::NOT_IN_FOCUS;
        return (1, false);
    }
    let (depth, end) = walk(Registers::here(), thread_hint(), room);
    if end == End::Busy {
        UNWINDER_BUSY.fetch_add(1, Ordering::Relaxed);
    }
    (depth, end == End::Start)
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn walk(_room: &mut [u64]) -> (usize, bool) {
    (0, false)
}
