//! Without the feature, or elsewhere than on Linux, nobody notes that a thread waits.

use super::recorder::{Waiter, WaitsFor};

/// Nothing.
#[cfg_attr(not(feature = "enabled"), allow(dead_code, reason = "no lock tells"))]
#[derive(Debug)]
pub(super) struct Mark;

#[cfg_attr(not(feature = "enabled"), allow(dead_code, reason = "no lock tells"))]
#[inline(always)]
pub(super) fn mark(_waits_for: WaitsFor) -> Mark {
    Mark
}

/// None.
pub fn waiters() -> Vec<Waiter> {
    Vec::new()
}

/// Nothing.
pub fn waiter(_tid: i32) -> Option<Waiter> {
    None
}
