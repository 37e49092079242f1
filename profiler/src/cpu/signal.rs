//! Installing a signal handler beside whatever the host has, once and for the life of the process.
//!
//! A handler is never taken away again: a signal that is on its way when a profile ends would meet the default
//! action, which for these signals is death.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

pub(super) type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// What was installed for a signal before us. Read by the handler.
pub(super) struct Former(AtomicPtr<libc::sigaction>);

impl Former {
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// Does with a signal that isn't ours what would have been done without us. Async-signal-safe.
    pub(super) fn forward(
        &self,
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: null or leaked by `install`.
        let former = unsafe { self.0.load(Ordering::Acquire).as_ref() };
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
            _ => {
                // The default: the signal is raised again and takes effect when this handler returns.
                // SAFETY: both calls are async-signal-safe and take a valid signal.
                unsafe {
                    libc::signal(signal, libc::SIG_DFL);
                    libc::raise(signal);
                }
            }
        }
    }
}

/// Installs the handler for the signal if it isn't the one installed already.
///
/// `SA_RESTART`, so that the host's system calls go on. Not `SA_ONSTACK`: alternative stacks are a few KiB, made
/// for a last word on a stack overflow.
pub(super) fn install(signal: libc::c_int, handler: Handler, former: &Former) -> Result<(), Error> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: all-zero is a valid `sigaction`, and the calls read and write structures of ours.
    unsafe {
        let mut present: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(signal, std::ptr::null(), &raw mut present) != 0 {
            return Err(Error::last("a signal's handler can't be read"));
        }
        if present.sa_sigaction == handler as usize {
            return Ok(());
        }
        // Published first: the handler may run at once. It may still be read later, so it lives for ever.
        former.0.store(Box::into_raw(Box::new(present)), Ordering::Release);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        if libc::sigaction(signal, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(Error::last("a signal's handler can't be installed"));
        }
    }
    Ok(())
}
