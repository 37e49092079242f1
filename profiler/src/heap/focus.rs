//! Sampling one stage, statement or tenant alone: of all others' allocations no stack is taken, which is most of what a sample
//! costs. They count all the same, so that sums stay true, in one frame for all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::tier;
use crate::armed::Armed;
use crate::error::Error;
use crate::focus::Focus;

static FOCUS: Armed<Focus> = Armed::new();

/// Whether there is one: the hook asks this first, for next to nothing.
static FOCUSED: AtomicBool = AtomicBool::new(false);

/// Takes stacks of the allocations of one stage, statement, tenant, user or database alone from now on, or of all again with
/// `None`: `focus_heap(Some(("tenant", "acme")))`. Needs [`heap_profiler!`](crate::heap_profiler)
/// or a [`Sampler`](crate::Sampler).
///
/// An allocation is a stage's if it is made in the stage or in one that it called. All others keep their labels and their
/// bytes, under one frame `[not in focus]`, so that totals by label are true and only their stacks are missing;
/// [`Profile::filter`](crate::Profile::filter) leaves them out. What was sampled before keeps its stack until it is freed.
///
/// # Cost
/// A sampled allocation that is not in focus takes a tenth of a microsecond instead of one or several, which makes a high rate
/// ([`sample_heap`](crate::sample_heap)) bearable where one tenant or stage is in doubt.
///
/// # Errors
/// [`Error::Invalid`] for a label that an allocation does not have, [`Error::Unsupported`] if the allocator does not sample, or
/// takes stacks by an unwinder that knows no labels, with the reason.
pub fn focus_heap(on: Option<(&str, &str)>) -> Result<(), Error> {
    let tier = tier::active().map_err(Error::Unsupported)?;
    if let Some((_, reason)) = tier.lacks() {
        return Err(Error::Unsupported(format!("a focus takes the unwinder that knows labels: {reason}")));
    }
    let focus = on.map(|(label, value)| Focus::new(label, value)).transpose()?;
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    FOCUSED.store(false, Ordering::Relaxed);
    FOCUS.disarm(|_| ());
    if let Some(focus) = focus {
        FOCUS.arm(Box::new(focus));
        FOCUSED.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Looks at the stages that came since the last time.
pub(super) fn learn() {
    FOCUS.with(Focus::learn);
}

/// The label and the value that are in focus.
pub(super) fn focus() -> Option<(&'static str, String)> {
    FOCUS.with(|focus| {
        let (label, value) = focus.what();
        (label, value.to_owned())
    })
}

/// Whether the stack of what the calling thread allocates is to be taken. Async-signal-safe.
#[cfg(target_arch = "x86_64")]
pub(super) fn wanted() -> bool {
    !FOCUSED.load(Ordering::Relaxed) || FOCUS.with(Focus::is_on_this_thread).unwrap_or(true)
}
