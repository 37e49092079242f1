//! `fork`: the child has the forking thread alone, and the locks as they were at that instant.
//!
//! A lock that another thread holds then is held for ever in the child, and its first snapshot would wait for it. So the
//! forking thread takes all of them before it forks, and lets go of them after it in both processes.

use std::any::Any;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// What some part of the crate does around a `fork`.
pub(crate) struct AtFork {
    /// Takes its locks, which are let go of when what it gives is dropped. They are taken after those of parts that came
    /// before, so no thread may hold one of these while it takes one of those.
    pub(crate) hold: fn() -> Vec<Box<dyn Any>>,
    /// Puts right in the child what the parent's other threads left, which don't exist there.
    pub(crate) in_child: fn(),
}

static PARTS: Mutex<Vec<AtFork>> = Mutex::new(Vec::new());

type Parts = MutexGuard<'static, Vec<AtFork>>;

/// The locks that the thread which is forking holds; the parts are locked last to let go, so there is one such thread.
static HELD: AtomicPtr<(Vec<Box<dyn Any>>, Parts)> = AtomicPtr::new(null_mut());

fn parts() -> Parts {
    PARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the part is heeded. Called before any of its locks matters to a child.
pub(crate) fn heed(part: AtFork) {
    static REGISTERED: Once = Once::new();
    parts().push(part);
    REGISTERED.call_once(|| {
        // SAFETY: the handlers are functions of the program that stay valid. Where there is no memory for them, a
        // child may have to do without our care.
        #[cfg(all(unix, not(miri)))]
        unsafe {
            libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child));
        }
    });
}

#[cfg_attr(not(all(unix, not(miri))), expect(dead_code))]
extern "C" fn before() {
    let parts = parts();
    let held = parts.iter().flat_map(|part| (part.hold)()).collect();
    HELD.store(Box::into_raw(Box::new((held, parts))), Ordering::Relaxed);
}

/// Lets go of the locks, but for that on the parts.
fn let_go() -> Option<Parts> {
    let held = HELD.swap(null_mut(), Ordering::Relaxed);
    // SAFETY: what is stored is null or a box that `before` has leaked on this thread, and it is taken out but once.
    let held = (!held.is_null()).then(|| unsafe { Box::from_raw(held) });
    held.map(|held| held.1)
}

#[cfg_attr(not(all(unix, not(miri))), expect(dead_code))]
extern "C" fn after_in_parent() {
    drop(let_go());
}

#[cfg_attr(not(all(unix, not(miri))), expect(dead_code))]
extern "C" fn after_in_child() {
    if let Some(parts) = let_go() {
        parts.iter().for_each(|part| (part.in_child)());
    }
}
