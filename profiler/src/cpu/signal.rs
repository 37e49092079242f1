//! Installing a signal handler beside whatever the host has, once and for the life of the process.
//!
//! A handler is never taken away again: a signal that is on its way when a profile ends would meet the default
//! action, which for SIGTRAP is death.

use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// What was installed for a signal before us, to pass on what isn't ours. Read by the handler.
pub(super) struct Former {
    /// When we came first.
    first: AtomicPtr<Found>,
    /// When we came again, because the host had put another in our place. That one may in turn pass on to us.
    latest: AtomicPtr<Found>,
}

/// One action that was found installed.
struct Found {
    action: libc::sigaction,
    /// Whether it was for one signal (`SA_RESETHAND`) and has had it.
    spent: AtomicBool,
}

thread_local! {
    /// Whether this thread is passing a signal on at this moment.
    static FORWARDING: Cell<bool> = const { Cell::new(false) };
}

impl Former {
    pub(super) const fn new() -> Self {
        Self { first: AtomicPtr::new(null_mut()), latest: AtomicPtr::new(null_mut()) }
    }

    /// Notes what was found. It may be read by a handler at any later time, so it lives for ever; there is one for each
    /// time that the host replaced our handler.
    fn found(&self, action: libc::sigaction) {
        let found = Box::into_raw(Box::new(Found { action, spent: AtomicBool::new(false) }));
        self.latest.store(found, Ordering::Release);
        let _ = self.first.compare_exchange(null_mut(), found, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Does with a signal that isn't ours what the host's handler would, under the mask and by the flags that the host
    /// asked for. Async-signal-safe.
    ///
    /// What can't be had: a call that the signal interrupts goes on though the host installed its handler without
    /// `SA_RESTART`.
    pub(super) fn forward(
        &self,
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // A host that came after us and passes on to us gets its signal back from us once, not for ever.
        let reentered = FORWARDING.replace(true);
        let former = if reentered { &self.first } else { &self.latest };
        // SAFETY: null or leaked by `found`.
        let former = unsafe { former.load(Ordering::Acquire).as_ref() };
        let action = former.and_then(Found::take);
        match action.map(|action| (action, action.sa_sigaction)) {
            Some((_, libc::SIG_IGN)) => {}
            Some((action, handler)) if handler != libc::SIG_DFL => {
                // SAFETY: `context` is what the kernel handed to our handler, which has `SA_SIGINFO`.
                let mask = unsafe { Mask::of(action, signal, context) };
                if action.sa_flags & libc::SA_SIGINFO != 0 {
                    // SAFETY: the host installed this address with `SA_SIGINFO`, so it has this type.
                    let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
                    handler(signal, info, context);
                } else {
                    // SAFETY: the host installed this address without `SA_SIGINFO`, so it has this type.
                    let handler =
                        unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
                    handler(signal);
                }
                drop(mask);
            }
            // The host's handler has had it, and passed it on to what it takes for its predecessor.
            _ if reentered => {}
            // The default of this one is to do nothing.
            _ if signal == libc::SIGURG => {}
            _ => {
                // The default: the signal is raised again and takes effect when this handler returns.
                // SAFETY: both calls are async-signal-safe and take a valid signal.
                unsafe {
                    libc::signal(signal, libc::SIG_DFL);
                    libc::raise(signal);
                }
            }
        }
        FORWARDING.set(reentered);
    }
}

impl Found {
    /// The action; `None`, the default, once it was for one signal and has had it.
    fn take(&self) -> Option<&libc::sigaction> {
        let once = self.action.sa_flags & libc::SA_RESETHAND != 0;
        (!once || !self.spent.swap(true, Ordering::AcqRel)).then_some(&self.action)
    }
}

/// The signals that are blocked while the host's handler runs. Dropping it gives back those that were before.
struct Mask(libc::sigset_t);

impl Mask {
    /// As the kernel would have set it for the action: what the interrupted code blocked, what the action blocks, and the
    /// signal itself unless the action defers nothing.
    ///
    /// # Safety
    /// `context` is the third argument of the running handler.
    unsafe fn of(action: &libc::sigaction, signal: libc::c_int, context: *const libc::c_void) -> Self {
        // SAFETY: by the caller's promise; all-zero is a valid set, and the calls read and write sets of ours. They are
        // async-signal-safe.
        unsafe {
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const action.sa_mask, &raw mut before);
            let interrupted = &raw const (*context.cast::<libc::ucontext_t>()).uc_sigmask;
            let blocked = libc::sigismember(interrupted, signal) == 1
                || libc::sigismember(&raw const action.sa_mask, signal) == 1;
            if action.sa_flags & libc::SA_NODEFER != 0 && !blocked {
                let mut itself: libc::sigset_t = std::mem::zeroed();
                libc::sigaddset(&raw mut itself, signal);
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const itself, null_mut());
            }
            Self(before)
        }
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        // SAFETY: the set is ours. Async-signal-safe.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, null_mut()) };
    }
}

/// Installs the handler for the signal if it isn't the one installed already.
///
/// `SA_RESTART`, so that reads, writes and waits for locks or children go on; `poll`, `epoll_wait` and sleeps end with
/// `EINTR` at any handler. `SA_ONSTACK` only where the host's handler has it, which may need it: ours needs little stack,
/// and a host's alternative stack may be in use.
pub(super) fn install(signal: libc::c_int, handler: Handler, former: &Former) -> Result<(), Error> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: all-zero is a valid `sigaction`, and the calls read and write structures of ours.
    unsafe {
        let mut present: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &raw mut present) != 0 {
            return Err(Error::last("a signal's handler can't be read"));
        }
        if present.sa_sigaction == handler as *const () as usize {
            return Ok(());
        }
        // First, because the handler may run at once.
        former.found(present);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | (present.sa_flags & libc::SA_ONSTACK);
        libc::sigemptyset(&raw mut action.sa_mask);
        if libc::sigaction(signal, &raw const action, null_mut()) != 0 {
            return Err(Error::last("a signal's handler can't be installed"));
        }
    }
    Ok(())
}
