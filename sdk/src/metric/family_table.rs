//! A family's metrics by label values: found without a lock, added under one, never removed.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::record::labels::hash;

/// Open addressing, at most half full.
pub(super) struct Table<M> {
    /// Null or a leaked child.
    slots: Box<[AtomicPtr<Child<M>>]>,
    other: M,
    full: AtomicBool,
    cap: usize,
    /// How many there are. Whoever adds holds it.
    added: Mutex<usize>,
}

struct Child<M> {
    hash: u64,
    values: Box<[Box<str>]>,
    metric: M,
}

impl<M> Table<M> {
    pub(super) fn new(cap: usize, other: M, full: bool) -> Self {
        // No family has more metrics than there are words for.
        let cap = cap.min(crate::metric::slab::WORDS);
        let size = (2 * cap).next_power_of_two().max(2);
        let slots = std::iter::repeat_with(|| AtomicPtr::new(null_mut())).take(size).collect();
        Self { slots, other, full: AtomicBool::new(full || cap == 0), cap, added: Mutex::new(0) }
    }

    pub(super) fn other(&self) -> &M {
        &self.other
    }

    /// Whether nothing more can be added.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn find(&'static self, values: &[&str]) -> Option<&'static M> {
        self.probe(hash(values), values).ok()
    }

    /// The metric, or the slot where it should be.
    #[inline]
    fn probe(
        &'static self,
        hash: u64,
        values: &[&str],
    ) -> Result<&'static M, Option<&'static AtomicPtr<Child<M>>>> {
        let mask = self.slots.len() - 1;
        for step in 0..self.slots.len() {
            let slot = &self.slots[(hash as usize).wrapping_add(step) & mask];
            // SAFETY: a slot holds null or a leaked child, published with release.
            let Some(child) = (unsafe { slot.load(Ordering::Acquire).as_ref() }) else {
                return Err(Some(slot));
            };
            if child.hash == hash && same(&child.values, values) {
                return Ok(&child.metric);
            }
        }
        Err(None)
    }

    /// Adds the metric that `place` finds room for, unless another thread was faster. `None` if there is no room.
    pub(super) fn add(
        &'static self,
        values: &[&str],
        place: impl FnOnce() -> Option<M>,
    ) -> Option<&'static M> {
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = hash(values);
        let slot = match self.probe(hash, values) {
            Ok(metric) => return Some(metric),
            Err(slot) => slot,
        };
        let metric = if *added < self.cap { place() } else { None };
        let (Some(slot), Some(metric)) = (slot, metric) else {
            self.full.store(true, Ordering::Relaxed);
            return None;
        };
        *added += 1;
        let values = values.iter().map(|&value| value.into()).collect();
        let child = Box::leak(Box::new(Child { hash, values, metric }));
        slot.store(child, Ordering::Release);
        Some(&child.metric)
    }
}

#[inline]
fn same(kept: &[Box<str>], values: &[&str]) -> bool {
    kept.len() == values.len()
        && kept.iter().zip(values).all(|(kept, value)| kept.len() == value.len() && **kept == **value)
}
