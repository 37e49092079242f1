//! What jemalloc calls once it has sampled an allocation and noted its stack.

use std::ffi::{c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::told;
use super::control;

/// Its type, as `experimental.hooks.prof_sample` takes it: address, size asked for, stack and its depth, size given.
type Hook = unsafe extern "C" fn(*const c_void, usize, *const *const c_void, c_uint, usize);

/// The size of the last allocation that the hook was called for.
static LAST_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Has jemalloc tell of what it samples, or no more.
pub(super) fn tell(whether: bool) -> Result<(), String> {
    set(whether.then_some(hook))
}

/// The interface is experimental: sees that a sampled allocation is told of, with its size.
pub(super) fn test() -> Result<(), String> {
    // SAFETY: jemalloc 5.3 gives this name the type of `Hook`, or null.
    if unsafe { control::read::<Option<Hook>>(c"experimental.hooks.prof_sample") }?.is_some() {
        return Err("the program has a hook of its own for what jemalloc samples".into());
    }
    set(Some(hook))?;
    let size = control::sample();
    set(None)?;
    let seen = LAST_BYTES.load(Ordering::Relaxed);
    match size? {
        size if size == seen => Ok(()),
        size => Err(format!("jemalloc sampled an allocation of {size} bytes and told of {seen}")),
    }
}

fn set(hook: Option<Hook>) -> Result<(), String> {
    // SAFETY: jemalloc 5.3 gives this name the type of `Hook`, or null for none; `test` looks whether it is called so.
    unsafe { control::write(c"experimental.hooks.prof_sample", hook) }
}

/// Notes the allocation, if a window runs.
///
/// Runs within `malloc`: it allocates nothing and waits for nobody.
///
/// # Safety
/// `frames` points to `depth` addresses.
unsafe extern "C" fn hook(
    _address: *const c_void,
    _asked: usize,
    frames: *const *const c_void,
    depth: c_uint,
    bytes: usize,
) {
    LAST_BYTES.store(bytes, Ordering::Relaxed);
    // SAFETY: by the caller's promise; an address and a `u64` are the same here.
    let stack = unsafe { std::slice::from_raw_parts(frames.cast::<u64>(), depth as usize) };
    told::tell(stack, bytes);
}
