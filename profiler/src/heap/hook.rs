//! What jemalloc calls to take the stack of an allocation that it samples.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use super::focus;
use super::pseudo_frame::{self, Context};
use crate::profile::NOT_IN_FOCUS;
use crate::unwind::{End, Registers, walk};

/// Its type, as `experimental.hooks.prof_backtrace` takes it.
pub(super) type Hook = unsafe extern "C" fn(*mut *mut c_void, *mut c_uint, c_uint);

/// Allocations whose stack was taken.
pub(super) static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Time spent taking them, in nanoseconds.
pub(super) static SPENT_NS: AtomicU64 = AtomicU64::new(0);

/// Those of which no stack could be taken, because more walks ran at once than there are caches. They count with
/// their labels alone.
pub(super) static UNWINDER_BUSY: AtomicU64 = AtomicU64::new(0);

/// Writes the stack to `frames`, with what the thread is in as the outermost frame.
///
/// Runs within `malloc`: it allocates nothing and locks nothing.
///
/// # Safety
/// `frames` has room for `max` addresses, and `length` for a number.
pub(super) unsafe extern "C" fn backtrace(frames: *mut *mut c_void, length: *mut c_uint, max: c_uint) {
    // SAFETY: errno is the thread's own.
    let errno = unsafe { *libc::__errno_location() };
    let start = now_ns();
    // SAFETY: by the caller's promise; an address and a `u64` are the same here.
    let room = unsafe { std::slice::from_raw_parts_mut(frames.cast::<u64>(), max as usize) };
    let Some((last, room)) = room.split_last_mut() else {
        // SAFETY: by the caller's promise.
        unsafe { *length = 0 };
        return;
    };
    let registers = Registers::here();
    let (depth, end) = match (focus::wanted(), room.first_mut()) {
        (false, Some(place)) => {
            *place = NOT_IN_FOCUS;
            (1, End::Full)
        }
        _ => walk(registers, crate::unwind::thread_hint(), room),
    };
    TAKEN.fetch_add(1, Ordering::Relaxed);
    SPENT_NS.fetch_add(now_ns().saturating_sub(start), Ordering::Relaxed);
    if end == End::Busy {
        UNWINDER_BUSY.fetch_add(1, Ordering::Relaxed);
    }
    let label = pseudo_frame::encode(Context {
        context: stagelight::__private::current(),
        complete: end == End::Start,
    });
    match room.get_mut(depth) {
        Some(place) => *place = label,
        None => *last = label,
    }
    // SAFETY: by the caller's promise; errno is the thread's own.
    unsafe {
        *length = depth as c_uint + 1;
        *libc::__errno_location() = errno;
    }
}

/// The monotonic clock, without a system call.
fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
