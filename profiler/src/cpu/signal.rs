//! Installing a signal handler beside whatever the host has, once and for the life of the process.
//!
//! A handler is never taken away again: a signal that is on its way when a profile ends would meet the default
//! action, which for these signals is death.

use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// What was installed for a signal before us, to pass on what isn't ours. Read by the handler.
pub(super) struct Former {
    /// When we came first.
    first: AtomicPtr<libc::sigaction>,
    /// When we came again, because the host had put another in our place. That one may in turn pass on to us.
    latest: AtomicPtr<libc::sigaction>,
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
        let action = Box::into_raw(Box::new(action));
        self.latest.store(action, Ordering::Release);
        let _ = self.first.compare_exchange(null_mut(), action, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Does with a signal that isn't ours what the host's handler would. Async-signal-safe.
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
        match former.map(|former| (former.sa_sigaction, former.sa_flags)) {
            Some((libc::SIG_IGN, _)) => {}
            Some((handler, flags)) if handler != libc::SIG_DFL && flags & libc::SA_SIGINFO != 0 => {
                // SAFETY: the host installed this address with `SA_SIGINFO`, so it has this type.
                let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
                handler(signal, info, context);
            }
            Some((handler, _)) if handler != libc::SIG_DFL => {
                // SAFETY: the host installed this address without `SA_SIGINFO`, so it has this type.
                let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(handler) };
                handler(signal);
            }
            // The host's handler has had it, and passed it on to what it takes for its predecessor.
            _ if reentered => {}
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

/// Installs the handler for the signal if it isn't the one installed already.
///
/// `SA_RESTART`, so that reads, writes and waits for locks or children go on; `poll`, `epoll_wait` and sleeps end with
/// `EINTR` at any handler. Not `SA_ONSTACK`: the handler needs little stack, and a host's alternative stack may be in use.
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
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        if libc::sigaction(signal, &raw const action, null_mut()) != 0 {
            return Err(Error::last("a signal's handler can't be installed"));
        }
    }
    Ok(())
}
