//! What a walk in a signal handler costs, for the benches: nothing else uses it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::walk::{Registers, thread_hint, walk};
use crate::clock;
use crate::error::Error;

const FRAMES: usize = 250;

static NS: AtomicU64 = AtomicU64::new(0);
static DEPTH: AtomicU64 = AtomicU64::new(0);

/// Interrupts the calling thread so many times by a signal to itself, and gives each walk's nanoseconds and frames. Not while
/// another thread does.
///
/// # Errors
/// If the handler can't be installed.
pub fn walks(times: usize) -> Result<Vec<(u64, u64)>, Error> {
    super::refresh();
    // SAFETY: `sigaction` with a handler that does nothing but what a handler may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        if libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(Error::last("no handler for SIGURG"));
        }
    }
    let walk = |_| {
        // SAFETY: a signal to the calling thread, which has a handler.
        unsafe { libc::raise(libc::SIGURG) };
        (NS.load(Ordering::Relaxed), DEPTH.load(Ordering::Relaxed))
    };
    Ok((0..times).map(walk).collect())
}

extern "C" fn on_signal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the context is this handler's third argument.
    let registers = unsafe { Registers::interrupted(context) };
    let mut frames = [0; FRAMES];
    let start = clock::monotonic_ns();
    let (depth, _) = walk(registers, thread_hint(), &mut frames);
    NS.store(clock::monotonic_ns() - start, Ordering::Relaxed);
    DEPTH.store(depth as u64, Ordering::Relaxed);
}
