//! What a thread has allocated, and when it is to be sampled next.
//!
//! Samples are the events of a Poisson process over a thread's allocated bytes: the way to the next one is exponentially
//! distributed, so it may be drawn anew at any point without a bias, and an allocation is sampled if an event falls into it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The power of two of the average bytes between samples; [`OFF`] for none.
static RATE: AtomicU32 = AtomicU32::new(OFF);

pub(super) const OFF: u32 = 0;

/// Bytes after which a thread looks whether the rate is another.
const STEP: u64 = 64 << 10;

/// No rate.
const UNKNOWN: u32 = u32::MAX;

struct Thread {
    /// Bytes that it was asked for.
    allocated: Cell<u64>,
    /// Where in these it takes the slow path next.
    next: Cell<u64>,
    /// Where in these the next sample lies.
    sample: Cell<u64>,
    /// The rate that `sample` was drawn for.
    rate: Cell<u32>,
    /// Nothing of what it allocates is sampled.
    left_out: Cell<bool>,
    /// The state of its random numbers, 0 before the first.
    random: Cell<u64>,
}

thread_local! {
    /// Constant and without a destructor: it is there in a thread's first allocation and in its last, and to reach it allocates
    /// nothing.
    static THREAD: Thread = const {
        Thread {
            allocated: Cell::new(0),
            next: Cell::new(0),
            sample: Cell::new(0),
            rate: Cell::new(UNKNOWN),
            left_out: Cell::new(false),
            random: Cell::new(0),
        }
    };
}

/// Counts an allocation, and says whether it must take the slow path.
#[inline(always)]
pub(super) fn count(bytes: usize) -> bool {
    THREAD.with(|thread| {
        let allocated = thread.allocated.get().wrapping_add(bytes as u64);
        thread.allocated.set(allocated);
        allocated > thread.next.get()
    })
}

/// Whether the allocation that was just counted is a sample: at which rate.
pub(super) fn is_sample(bytes: usize) -> Option<u32> {
    THREAD.with(|thread| {
        let allocated = thread.allocated.get();
        let rate = if thread.left_out.get() { OFF } else { RATE.load(Ordering::Relaxed) };
        if thread.rate.replace(rate) != rate {
            thread.draw(allocated.wrapping_sub(bytes as u64));
        }
        let sampled = allocated > thread.sample.get();
        if sampled {
            thread.draw(allocated);
        }
        thread.next.set(thread.sample.get().min(allocated.saturating_add(STEP)));
        sampled.then_some(rate)
    })
}

impl Thread {
    /// Draws where the next sample lies, from a place on.
    fn draw(&self, from: u64) {
        let rate = self.rate.get();
        self.sample.set(match rate {
            OFF => u64::MAX,
            rate => from.saturating_add((-self.unit().ln() * (1_u64 << rate) as f64) as u64),
        });
    }

    /// A random number above 0 and up to 1.
    fn unit(&self) -> f64 {
        let mut random = match self.random.get() {
            0 => seed(),
            random => random,
        };
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        ((random >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// Another one for each thread, also where these come and go and lie in the same place. Source of the constants: Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", 2014.
fn seed() -> u64 {
    const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let local = 0_u8;
    // The place of the stack differs from run to run.
    let place = std::ptr::from_ref(&local).addr() as u64;
    let mut seed = NEXT.fetch_add(STRIDE, Ordering::Relaxed).wrapping_add(place);
    seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (seed ^ seed >> 31) | 1
}

/// The rate at present.
pub(super) fn rate() -> u32 {
    RATE.load(Ordering::Relaxed)
}

/// Samples at this rate from now on. The calling thread hears of it at once.
pub(super) fn set_rate(rate: u32) {
    RATE.store(rate, Ordering::Relaxed);
    THREAD.with(|thread| thread.next.set(0));
}

/// Samples nothing more of what the calling thread allocates.
pub(super) fn leave_out() {
    THREAD.with(|thread| {
        thread.left_out.set(true);
        thread.next.set(0);
    });
}

/// Where the calling thread's allocated bytes are counted. Valid until its end.
pub(super) fn allocated() -> *const u64 {
    THREAD.with(|thread| thread.allocated.as_ptr())
}
