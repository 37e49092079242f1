//! A fixed pool of the unwinder's rule caches, 33 KB each: one for each walk that can run at once, not one a
//! thread.

use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use framehop::{CacheNative, MustNotAllocateDuringUnwind};

pub(super) type Cache = CacheNative<MustNotAllocateDuringUnwind>;

struct Slot {
    taken: AtomicBool,
    cache: UnsafeCell<Cache>,
}

// SAFETY: `cache` is only reached by whoever turned `taken` from false to true, and until it turns it back.
unsafe impl Sync for Slot {}

static POOL: OnceLock<Box<[Slot]>> = OnceLock::new();

/// Makes the pool. Called before the first walk.
pub(super) fn prepare() {
    POOL.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(4, usize::from);
        // Walks run on cores, and a few are preempted in the midst.
        (0..(2 * cores).clamp(4, 64))
            .map(|_| Slot { taken: AtomicBool::new(false), cache: UnsafeCell::new(Cache::default()) })
            .collect()
    });
}

/// Bytes that the pool takes.
pub(super) fn bytes() -> usize {
    const CACHE_BYTES: usize = 33 << 10;
    POOL.get().map_or(0, |pool| pool.len() * CACHE_BYTES)
}

/// Calls `use_cache` with a cache that nobody else uses, near the one that `hint` names, so that a thread mostly
/// finds its own rules again. `None` if all are taken.
pub(super) fn with<R>(hint: usize, use_cache: impl FnOnce(&mut Cache) -> R) -> Option<R> {
    let pool = POOL.get()?;
    let slot = (0..pool.len())
        .map(|step| &pool[(hint + step) % pool.len()])
        .find(|slot| !slot.taken.load(Ordering::Relaxed) && !slot.taken.swap(true, Ordering::Acquire))?;
    // SAFETY: this call took the slot, so nobody else holds a reference to its cache.
    let result = use_cache(unsafe { &mut *slot.cache.get() });
    slot.taken.store(false, Ordering::Release);
    Some(result)
}
