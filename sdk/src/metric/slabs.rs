//! All slabs of the process: who holds one and which are free.

use std::any::Any;
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use super::registry;
use super::slab::{self, SHARED, Slab};
use super::writer::Writer;
use crate::record::block::map_zeroed;
use crate::record::fork::{self, AtFork};

/// Whether handles do anything at all.
pub(crate) const ENABLED: bool = cfg!(feature = "enabled");

/// Threads that can have a slab of their own at once. Those beyond it write to the shared one.
const MAX_SLABS: usize = 1024;

struct Slabs {
    all: Vec<&'static Slab>,
    free: Vec<&'static Slab>,
}

static SLABS: Mutex<Slabs> = Mutex::new(Slabs { all: Vec::new(), free: Vec::new() });

/// Whether there was none for the last thread that asked: then further ones need not queue for the lock.
static EXHAUSTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The thread's slab; null until its first touch of a metric, and again once its locals are being destroyed. Constant
    /// and without a destructor: reading it is one load.
    static MINE: Cell<*const Slab> = const { Cell::new(ptr::null()) };

    /// Gives the slab back when the thread ends.
    static HOLD: Hold = const { Hold };
}

struct Hold;

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(slab) = mine() {
            MINE.set(ptr::null());
            lock().free.push(slab);
            EXHAUSTED.store(false, Ordering::Relaxed);
        }
    }
}

#[inline(always)]
fn mine() -> Option<&'static Slab> {
    // SAFETY: slabs are never freed, and `MINE` only ever holds null or a slab.
    unsafe { MINE.get().as_ref() }
}

fn lock() -> std::sync::MutexGuard<'static, Slabs> {
    SLABS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the calling thread adds to.
#[inline(always)]
pub(crate) fn writer() -> Writer {
    match mine() {
        Some(slab) => Writer::alone(slab),
        None => first_touch(),
    }
}

/// What all threads add to.
#[inline(always)]
pub(crate) fn shared() -> Writer {
    Writer::among_others(&SHARED)
}

/// Takes a slab for the thread. Without one, as many threads have, or at the thread's end, the shared one serves.
#[cold]
#[inline(never)]
fn first_touch() -> Writer {
    if EXHAUSTED.load(Ordering::Relaxed) || HOLD.try_with(|_| ()).is_err() {
        return shared();
    }
    match acquire() {
        Some(slab) => {
            MINE.set(slab);
            Writer::alone(slab)
        }
        None => {
            EXHAUSTED.store(true, Ordering::Relaxed);
            shared()
        }
    }
}

/// A slab that another thread left, or a new one.
fn acquire() -> Option<&'static Slab> {
    let mut slabs = lock();
    if let Some(slab) = slabs.free.pop() {
        return Some(slab);
    }
    let slab = (slabs.all.len() < MAX_SLABS).then(new_slab)??;
    slabs.all.push(slab);
    // So that giving it back never allocates.
    let missing = slabs.all.len() - slabs.free.len();
    slabs.free.reserve(missing);
    Some(slab)
}

/// Before the first series is placed: what holds for `record`'s locks at a `fork` holds for ours.
pub(super) fn heed_fork() {
    static FORK: Once = Once::new();
    FORK.call_once(|| {
        fork::heed(AtFork { hold: || vec![registry::hold(), Box::new(lock()) as Box<dyn Any>], in_child })
    });
}

/// The slabs of the parent's other threads are free.
fn in_child() {
    let mut slabs = lock();
    let Slabs { all, free } = &mut *slabs;
    free.clear();
    let mine = MINE.get();
    // There is room for all of them.
    free.extend(all.iter().filter(|&&slab| !ptr::eq(slab, mine)));
    EXHAUSTED.store(free.is_empty() && all.len() >= MAX_SLABS, Ordering::Relaxed);
}

/// An empty slab that lives for ever, unless memory is out.
pub(super) fn new_slab() -> Option<&'static Slab> {
    let memory = map_zeroed::<Slab>()?;
    // SAFETY: the memory is zeroed, of the size and alignment of a slab and never unmapped; all-zero is a valid slab.
    Some(unsafe { &*memory })
}

/// Every slab there is, the shared one first.
pub(crate) fn all() -> Vec<&'static Slab> {
    let mut all = vec![&SHARED];
    all.extend(&lock().all);
    all
}

/// What was refused so far, by cause.
pub(crate) fn refused() -> Vec<(&'static str, u64)> {
    let slabs = all();
    let sum = |word| slabs.iter().map(|slab| slab.get(word)).sum();
    vec![
        ("metric_label_cap", sum(slab::LABEL_CAP)),
        ("metric_label_length", sum(slab::LABEL_LENGTH)),
        ("metric_label_count", sum(slab::LABEL_COUNT)),
        ("metric_cells_full", sum(slab::CELLS_FULL)),
        #[cfg(feature = "metrics")]
        ("metric_not_finite", sum(slab::NOT_FINITE)),
    ]
}
