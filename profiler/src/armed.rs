//! What those who sample write to while a profile runs, and how it is taken away from under them.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

/// Something that is there for a time. Signal handlers and the allocator's hooks look at it, and wait for nobody.
pub(crate) struct Armed<T> {
    it: AtomicPtr<T>,
    /// Those who may hold a reference to it.
    users: AtomicUsize,
}

impl<T: Send + Sync> Armed<T> {
    pub(crate) const fn new() -> Self {
        Self { it: AtomicPtr::new(ptr::null_mut()), users: AtomicUsize::new(0) }
    }

    /// Puts it there. One at a time.
    pub(crate) fn arm(&self, it: Box<T>) {
        self.it.store(Box::into_raw(it), Ordering::SeqCst);
    }

    /// Calls `look` with it, if it is there. Async-signal-safe, if `look` is.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        struct User<'a>(&'a AtomicUsize);
        impl Drop for User<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.users.fetch_add(1, Ordering::SeqCst);
        let _user = User(&self.users);
        // SAFETY: null, or a box that is not taken away while this is counted as a user.
        unsafe { self.it.load(Ordering::SeqCst).as_ref() }.map(look)
    }

    /// Takes it away once nobody uses it, and hands it to `last_look`. If somebody still does after a second, which would take
    /// a thread stopped in its midst, it is left to them for ever.
    pub(crate) fn disarm(&self, last_look: impl FnOnce(&T)) {
        let it = self.it.swap(ptr::null_mut(), Ordering::SeqCst);
        // SAFETY: null, or a box that is only freed below.
        let Some(armed) = (unsafe { it.as_ref() }) else { return };
        let unused = || self.users.load(Ordering::SeqCst) == 0;
        let mut tries = 0;
        while !unused() && tries < 1000 {
            std::thread::sleep(Duration::from_millis(1));
            tries += 1;
        }
        last_look(armed);
        if unused() {
            // SAFETY: it came from `Box::into_raw`; those who look now find null, and nobody else holds a reference.
            drop(unsafe { Box::from_raw(it) });
        }
    }
}
