//! All blocks of the process: who holds one, which are free, what was refused for want of one.

use std::any::Any;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use super::block::Block;
use super::clock::Clock;
use super::fork::{self, AtFork};
use super::{interner, newcomers, stage, thread, turnover};

/// Threads that can record at once. What the threads beyond it do is counted as refused.
pub(crate) const MAX_BLOCKS: usize = 1024;

struct Registry {
    all: Vec<&'static Block>,
    free: Vec<&'static Block>,
}

/// Whether there was no block for the last thread that asked: then further ones need not queue for the lock.
static EXHAUSTED: AtomicBool = AtomicBool::new(false);

static REGISTRY: Mutex<Registry> = Mutex::new(Registry { all: Vec::new(), free: Vec::new() });

/// Calls of threads that got no block, because too many threads hold one or memory is out.
static REFUSED_NO_BLOCK: AtomicU64 = AtomicU64::new(0);

/// Calls made while the thread's locals were already being destroyed.
static REFUSED_AT_EXIT: AtomicU64 = AtomicU64::new(0);

/// Where the allocator keeps the calling thread's count of allocated bytes.
pub type AllocationCounter = fn() -> Option<*const u64>;

/// Told of each thread, by its id, when it takes a block.
pub type ThreadObserver = fn(tid: u32);

/// The hooks are functions, null for none.
static ALLOCATION_COUNTER: AtomicPtr<()> = AtomicPtr::new(null_mut());
static THREAD_OBSERVER: AtomicPtr<()> = AtomicPtr::new(null_mut());

/// Names the function that finds a thread's allocation counter. Threads that took their block before keep
/// what they have, so a binary calls this before its first stage.
///
/// # Safety
/// What the function returns must stay valid to read until the calling thread has ended.
pub unsafe fn set_allocation_counter(find: AllocationCounter) {
    ALLOCATION_COUNTER.store(find as *mut (), Ordering::Release);
}

/// Names the function that is told of each thread at its first stage. It runs on that thread and must not
/// enter a stage.
pub fn set_thread_observer(observe: ThreadObserver) {
    THREAD_OBSERVER.store(observe as *mut (), Ordering::Release);
}

fn allocation_counter() -> Option<AllocationCounter> {
    let find = ALLOCATION_COUNTER.load(Ordering::Acquire);
    // SAFETY: all that is ever stored but null is an `AllocationCounter`.
    (!find.is_null()).then(|| unsafe { std::mem::transmute::<*mut (), AllocationCounter>(find) })
}

fn thread_observer() -> Option<ThreadObserver> {
    let observe = THREAD_OBSERVER.load(Ordering::Acquire);
    // SAFETY: all that is ever stored but null is a `ThreadObserver`.
    (!observe.is_null()).then(|| unsafe { std::mem::transmute::<*mut (), ThreadObserver>(observe) })
}

/// A block for the calling thread: one that another thread left, or a new one. Refusals after the first are quick.
pub(crate) fn acquire() -> Option<&'static Block> {
    if EXHAUSTED.load(Ordering::Relaxed) {
        return None;
    }
    static FORK: Once = Once::new();
    FORK.call_once(|| fork::heed(AtFork { hold, in_child }));
    let clock = Clock::get();
    let tid = thread_id();
    let allocated = allocation_counter().and_then(|find| find());
    let block = {
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        match registry.free.pop() {
            Some(block) => block,
            None if registry.all.len() < MAX_BLOCKS => {
                let Some(block) = Block::map() else {
                    EXHAUSTED.store(true, Ordering::Relaxed);
                    return None;
                };
                registry.all.push(block);
                // So that giving it back never allocates.
                let missing = registry.all.len() - registry.free.len();
                registry.free.reserve(missing);
                block
            }
            None => {
                EXHAUSTED.store(true, Ordering::Relaxed);
                return None;
            }
        }
    };
    block.adopt(tid, allocated, clock);
    block.set_stack(super::thread_stack::bounds());
    if let Some(observe) = thread_observer() {
        observe(tid);
    }
    Some(block)
}

/// Gives the calling thread's block back.
pub(crate) fn release(block: &'static Block) {
    block.release();
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).free.push(block);
    EXHAUSTED.store(false, Ordering::Relaxed);
}

/// All locks of `record`. Whoever holds that of `turnover` may take the two after it; no thread holds others at once.
fn hold() -> Vec<Box<dyn Any>> {
    let registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    vec![Box::new(registry), stage::hold(), turnover::hold(), newcomers::hold(), interner::hold()]
}

/// The blocks of the parent's other threads are free, and this thread's has an owner of another id.
fn in_child() {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    let Registry { all, free } = &mut *registry;
    free.clear();
    for &block in &*all {
        if thread::holds(block) {
            block.set_owner(thread_id());
        } else {
            block.release();
            // There is room for all of them.
            free.push(block);
        }
    }
    EXHAUSTED.store(free.is_empty() && all.len() >= MAX_BLOCKS, Ordering::Relaxed);
}

/// Every block there ever was.
pub(crate) fn blocks() -> Vec<&'static Block> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
}

/// What each thread is in that is in a stage: its id, its stages from the outermost in, and its label
/// set. For who looks at threads from outside; what they do meanwhile may show in part.
#[must_use]
pub fn activities() -> Vec<(u32, Vec<u32>, u32)> {
    let look = |block: &'static Block| block.activity().map(|(tid, path, labels, _)| (tid, path, labels));
    blocks().into_iter().filter_map(look).collect()
}

#[cold]
pub(crate) fn refuse_no_block() {
    REFUSED_NO_BLOCK.fetch_add(1, Ordering::Relaxed);
}

#[cold]
pub(crate) fn refuse_at_exit() {
    REFUSED_AT_EXIT.fetch_add(1, Ordering::Relaxed);
}

/// Calls refused for want of a block and during thread exit.
pub(crate) fn refused() -> (u64, u64) {
    (REFUSED_NO_BLOCK.load(Ordering::Relaxed), REFUSED_AT_EXIT.load(Ordering::Relaxed))
}

#[cfg(target_os = "linux")]
fn thread_id() -> u32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() as u32 }
}

/// Elsewhere a number of our own serves: only Linux's samplers need the system's.
#[cfg(not(target_os = "linux"))]
fn thread_id() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
