//! Handing on what `std` says of poison.

use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

/// The same of what a guard is made into.
pub(super) fn map<G, H>(result: LockResult<G>, make: impl FnOnce(G) -> H) -> LockResult<H> {
    match result {
        Ok(guard) => Ok(make(guard)),
        Err(poisoned) => Err(PoisonError::new(make(poisoned.into_inner()))),
    }
}

/// What was taken, poisoned or not; `None` if it was not free.
#[inline]
pub(super) fn taken<G>(result: TryLockResult<G>) -> Option<LockResult<G>> {
    match result {
        Ok(guard) => Some(Ok(guard)),
        Err(TryLockError::Poisoned(poisoned)) => Some(Err(poisoned)),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// As the answer of a call that tries.
#[inline]
pub(super) fn tried<G>(taken: Option<LockResult<G>>) -> TryLockResult<G> {
    match taken {
        Some(Ok(guard)) => Ok(guard),
        Some(Err(poisoned)) => Err(TryLockError::Poisoned(poisoned)),
        None => Err(TryLockError::WouldBlock),
    }
}
