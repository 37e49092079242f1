//! One who is told when stages that are timed begin and end: nobody, unless a bridge asks.

use std::sync::atomic::{AtomicPtr, Ordering};

/// Is called on the thread that is in the stage, with its number.
#[derive(Debug)]
pub(crate) struct Observer {
    pub(crate) entered: fn(u32),
    /// And whether it failed.
    pub(crate) left: fn(u32, bool),
}

static OBSERVER: AtomicPtr<Observer> = AtomicPtr::new(std::ptr::null_mut());

/// From now on the observer is told. Of two the later one.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "bridges alone ask"))]
pub(crate) fn install(observer: &'static Observer) {
    OBSERVER.store(std::ptr::from_ref(observer).cast_mut(), Ordering::Release);
}

#[inline(always)]
fn observer() -> Option<&'static Observer> {
    // SAFETY: it is null or what `install` has published, which lives for ever and is only read.
    unsafe { OBSERVER.load(Ordering::Acquire).as_ref() }
}

#[inline(always)]
pub(crate) fn entered(stage: u32) {
    if let Some(observer) = observer() {
        (observer.entered)(stage);
    }
}

#[inline(always)]
pub(crate) fn left(stage: u32, failed: bool) {
    if let Some(observer) = observer() {
        (observer.left)(stage, failed);
    }
}
