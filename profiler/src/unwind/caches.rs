//! A fixed pool of what a walk needs: the unwinder's rule cache, 33 KB, the last walk's trail, 20 KB, and a stack to run on. One of
//! each for every walk that can run at once, not one a thread.
//!
//! A walk needs some 16 KiB of stack (56 in a debug build), because rows of unwind tables are copied about. The thread
//! that is sampled may have less left, so the walk brings its own.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use framehop::{CacheNative, MustNotAllocateDuringUnwind};

use super::trail::{Steps, Trail};

pub(super) type Cache = CacheNative<MustNotAllocateDuringUnwind>;

/// What a walk remembers of those before it.
pub(super) struct Memory {
    pub(super) rules: Cache,
    pub(super) trail: Trail,
    /// Room for the steps of one walk.
    pub(super) fresh: Steps,
}

const MEMORY_BYTES: usize = (33 << 10) + size_of::<Trail>() + size_of::<Steps>();
const STACK_BYTES: usize = 128 << 10;
const GUARD_BYTES: usize = 4096;

struct Slot {
    taken: AtomicBool,
    memory: UnsafeCell<Memory>,
    /// The upper end of a mapped stack.
    stack_top: *mut u8,
}

// SAFETY: `memory` and the stack are only reached by whoever turned `taken` from false to true, and until it turns it
// back.
unsafe impl Sync for Slot {}
// SAFETY: as above; neither belongs to a thread.
unsafe impl Send for Slot {}

static POOL: OnceLock<Box<[Slot]>> = OnceLock::new();

/// Makes the pool. Called before the first walk.
pub(super) fn prepare() {
    POOL.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(4, usize::from);
        // Walks run on cores, and a few are preempted in the midst.
        (0..(2 * cores).clamp(4, 64)).filter_map(|_| Slot::new()).collect()
    });
}

/// Bytes that the pool takes, of its stacks what a walk touches.
pub(super) fn bytes() -> usize {
    const TOUCHED: usize = 20 << 10;
    POOL.get().map_or(0, |pool| pool.len() * (MEMORY_BYTES + TOUCHED))
}

/// Calls `use_memory` on a stack of its own with a memory that nobody else uses, near the one that `hint` names, so that a
/// thread mostly finds its own again. `None` if all are taken.
pub(super) fn with<R>(hint: usize, use_memory: impl FnOnce(&mut Memory) -> R) -> Option<R> {
    let pool = POOL.get()?;
    let slot = (0..pool.len())
        .map(|step| &pool[hint.wrapping_add(step) % pool.len()])
        .find(|slot| !slot.taken.load(Ordering::Relaxed) && !slot.taken.swap(true, Ordering::Acquire))?;
    let mut use_memory = Some(use_memory);
    let mut result = None;
    let mut call = || {
        if let Some(use_memory) = use_memory.take() {
            // SAFETY: this call took the slot, so nobody else holds a reference to its memory.
            result = Some(use_memory(unsafe { &mut *slot.memory.get() }));
        }
    };
    // SAFETY: this call took the slot, so nobody else runs on its stack.
    unsafe { run_on(slot.stack_top, &mut call) };
    slot.taken.store(false, Ordering::Release);
    result
}

impl Slot {
    fn new() -> Option<Self> {
        // SAFETY: a new mapping affects no other memory, and its lowest page is made a guard.
        let memory = unsafe {
            let memory = libc::mmap(
                std::ptr::null_mut(),
                GUARD_BYTES + STACK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            );
            if memory == libc::MAP_FAILED || libc::mprotect(memory, GUARD_BYTES, libc::PROT_NONE) != 0 {
                return None;
            }
            memory.cast::<u8>()
        };
        let stack_top = memory.wrapping_add(GUARD_BYTES + STACK_BYTES);
        let memory =
            UnsafeCell::new(Memory { rules: Cache::default(), trail: Trail::new(), fresh: Steps::new() });
        Some(Self { taken: AtomicBool::new(false), memory, stack_top })
    }
}

/// Calls a function on another stack.
///
/// # Safety
/// `top` is the upper end of a stack that nobody runs on, aligned to 16 and large enough. The function does not unwind
/// out of itself; if it panics, the process aborts.
unsafe fn run_on<F: FnMut()>(top: *mut u8, call: &mut F) {
    extern "C" fn entry<F: FnMut()>(call: *mut c_void) {
        // SAFETY: `run_on` hands over its own exclusive reference.
        unsafe { (*call.cast::<F>())() };
    }
    // SAFETY: r12 is kept by the callee, so the old stack pointer comes back from it; all that a C function may change is
    // declared to be changed.
    unsafe {
        std::arch::asm!(
            "xchg rsp, r12",
            "call {entry}",
            "mov rsp, r12",
            entry = in(reg) entry::<F> as extern "C" fn(*mut c_void),
            in("rdi") std::ptr::from_mut(call).cast::<c_void>(),
            inout("r12") top => _,
            clobber_abi("C"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_runs_on_the_other_stack_and_comes_back() {
        let slot = Slot::new().unwrap();
        let (mut place, mut ran) = (0, 0);
        let here = std::ptr::from_ref(&ran) as usize;
        for _ in 0..2 {
            let mut call = || {
                let local = 0_u8;
                place = std::ptr::from_ref(std::hint::black_box(&local)) as usize;
                ran += 1;
            };
            // SAFETY: nobody else knows the stack.
            unsafe { run_on(slot.stack_top, &mut call) };
        }
        assert_eq!(ran, 2);
        let stack = slot.stack_top as usize - STACK_BYTES..slot.stack_top as usize;
        assert!(stack.contains(&place) && !stack.contains(&here));
    }
}
