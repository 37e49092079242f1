//! The modules that walks read, exchanged as a whole when the loader has loaded or unloaded something.
//!
//! A walk counts itself in before it reads the pointer and out when it is done. What was exchanged is freed by a
//! later refresh that finds no walk under way: a walk that starts after the exchange sees the new modules.

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::caches;
use super::modules::{self, Modules};

static MODULES: AtomicPtr<Modules> = AtomicPtr::new(std::ptr::null_mut());
static WALKS: AtomicUsize = AtomicUsize::new(0);

struct State {
    generation: (u64, u64),
    retired: Vec<Retired>,
}

struct Retired(*mut Modules);

// SAFETY: a retired pointer is the only one to its modules, but for walks that only read.
unsafe impl Send for Retired {}

/// What the pointer is shared for.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Modules>();
};

static STATE: Mutex<State> = Mutex::new(State { generation: (0, 0), retired: Vec::new() });

/// Apart from the state, which is locked while modules are read: who asks for figures does not wait
/// for that.
static COPIED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Makes walks see the objects that are loaded now. Cheap if nothing changed. Allocates and takes the loader's
/// lock: not for handlers.
pub(crate) fn refresh() {
    caches::prepare();
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let generation = modules::generation();
    if generation != state.generation || MODULES.load(Ordering::Relaxed).is_null() {
        let modules = modules::load();
        state.generation = generation;
        COPIED_BYTES.store(modules.copied_bytes, Ordering::Relaxed);
        let former = MODULES.swap(Box::into_raw(Box::new(modules)), Ordering::SeqCst);
        if !former.is_null() {
            state.retired.push(Retired(former));
        }
    }
    if !state.retired.is_empty() && WALKS.load(Ordering::SeqCst) == 0 {
        for Retired(modules) in state.retired.drain(..) {
            // SAFETY: it was made by `Box::into_raw`, was exchanged before no walk was under way, and so no walk
            // can reach it any more.
            drop(unsafe { Box::from_raw(modules) });
        }
    }
}

/// Bytes that unwinding keeps.
pub(crate) fn bytes() -> usize {
    caches::bytes() + COPIED_BYTES.load(Ordering::Relaxed)
}

/// Calls `walk` with the modules. `None` before the first refresh.
pub(super) fn with<R>(walk: impl FnOnce(&Modules) -> R) -> Option<R> {
    struct Walk;
    impl Drop for Walk {
        fn drop(&mut self) {
            WALKS.fetch_sub(1, Ordering::SeqCst);
        }
    }
    WALKS.fetch_add(1, Ordering::SeqCst);
    let _walk = Walk;
    // SAFETY: null or a boxed value that is not freed before this walk has counted itself out.
    unsafe { MODULES.load(Ordering::SeqCst).as_ref() }.map(walk)
}
