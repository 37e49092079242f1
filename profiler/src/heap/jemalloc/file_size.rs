//! A write beyond the process's limit on the size of files (`RLIMIT_FSIZE`), which holds for memory files too: the kernel
//! refuses it and sends `SIGXFSZ`, whose default is death.

use std::mem::MaybeUninit;
use std::ptr;

/// Runs what writes on this thread, and tells whether it went beyond the limit. The host sees no signal of it.
pub(super) fn guarded<R>(write: impl FnOnce() -> R) -> (R, bool) {
    // SAFETY: the sets are ours, and the mask is the calling thread's own. The signal goes to the thread that writes, so it
    // waits while the thread blocks it, and is taken before the thread does no longer. One that waited before is the host's.
    unsafe {
        let mut signal = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(signal.as_mut_ptr());
        let mut signal = signal.assume_init();
        libc::sigaddset(&raw mut signal, libc::SIGXFSZ);
        let mut before = signal;
        let blocked = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signal, &raw mut before) == 0;
        let waited = waits(libc::SIGXFSZ);
        let result = write();
        let beyond = blocked && !waited && waits(libc::SIGXFSZ);
        if beyond {
            let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            libc::sigtimedwait(&raw const signal, ptr::null_mut(), &raw const at_once);
        }
        if blocked {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        }
        (result, beyond)
    }
}

/// Whether a signal waits for this thread to let it in.
fn waits(signal: libc::c_int) -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is ours, and written if the call says so.
    unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), signal) == 1 }
}
