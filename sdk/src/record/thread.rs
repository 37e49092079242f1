//! The calling thread's block.

use std::cell::Cell;
use std::ptr;

use super::block::Block;
use super::registry;

thread_local! {
    /// Null until the thread's first stage and again once its locals are being destroyed. Constant and
    /// without a destructor: reading it is one load, also in a signal handler.
    static BLOCK: Cell<*const Block> = const { Cell::new(ptr::null()) };

    /// Gives the block back when the thread ends.
    static HOLD: Hold = const { Hold };
}

struct Hold;

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(block) = present() {
            BLOCK.set(ptr::null());
            registry::release(block);
        }
    }
}

/// The block that this thread holds, if it does. Async-signal-safe.
#[inline(always)]
pub(crate) fn present() -> Option<&'static Block> {
    // SAFETY: blocks are never freed, and `BLOCK` only ever holds null or a block.
    unsafe { BLOCK.get().as_ref() }
}

/// Whether this thread still holds that block. A guard may outlive its thread's hold, within a thread-local that is
/// destroyed late: by then the block may be another thread's.
#[inline(always)]
pub(crate) fn holds(block: &'static Block) -> bool {
    ptr::eq(BLOCK.get(), block)
}

/// This thread's block. `None` (counted) if it can't have one.
#[inline(always)]
pub(crate) fn block() -> Option<&'static Block> {
    match present() {
        Some(block) => Some(block),
        None => first_touch(),
    }
}

#[cold]
#[inline(never)]
fn first_touch() -> Option<&'static Block> {
    // Registers the destructor. Fails once the thread's locals are being destroyed: a block taken then
    // would never be given back.
    if HOLD.try_with(|_| ()).is_err() {
        registry::refuse_at_exit();
        return None;
    }
    let block = registry::acquire();
    match block {
        Some(block) => BLOCK.set(block),
        None => registry::refuse_no_block(),
    }
    block
}

/// The number of the stage and of the label set that the calling thread is in; 0 for none.
///
/// Async-signal-safe: four loads, no lock, no allocation. This is how the samplers join a sample to the
/// query that it was taken in.
#[must_use]
#[inline]
pub fn current() -> (u32, u32) {
    present().map_or((0, 0), Block::current)
}

/// What a sampler is told of the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampled {
    /// Stages that the thread is in.
    pub depth: usize,
    /// The number of the label set, 0 for none.
    pub labels: u32,
    /// The id of the trace that the thread's query may leave, zeros if it leaves none.
    pub trace: [u64; 2],
}

/// What the calling thread is in, with the stages' numbers written to `path`, outermost first; if there are more than it
/// has room for, the last of it is the innermost.
///
/// Async-signal-safe: loads and arithmetic, no lock, no allocation.
#[must_use]
#[inline]
pub fn sampled(path: &mut [u16]) -> Sampled {
    present().map_or(Sampled::default(), |block| block.sampled(path))
}

/// The lowest address and the end of the calling thread's stack; zeros for a thread that has not entered a stage yet.
/// Async-signal-safe.
#[must_use]
#[inline]
pub fn stack() -> [u64; 2] {
    present().map_or([0, 0], Block::stack)
}
