//! What jemalloc calls to take the stack of an allocation that it samples.

use std::ffi::{c_uint, c_void};

use super::super::stack;

/// Its type, as `experimental.hooks.prof_backtrace` takes it.
pub(super) type Hook = unsafe extern "C" fn(*mut *mut c_void, *mut c_uint, c_uint);

/// Writes the stack to `frames`, with what the thread is in as the outermost frame.
///
/// Runs within `malloc`: it allocates nothing and locks nothing.
///
/// # Safety
/// `frames` has room for `max` addresses, and `length` for a number.
pub(super) unsafe extern "C" fn backtrace(frames: *mut *mut c_void, length: *mut c_uint, max: c_uint) {
    // SAFETY: by the caller's promise; an address and a `u64` are the same here.
    let room = unsafe { std::slice::from_raw_parts_mut(frames.cast::<u64>(), max as usize) };
    let depth = stack::take(room);
    // SAFETY: by the caller's promise.
    unsafe { *length = depth as c_uint };
}
