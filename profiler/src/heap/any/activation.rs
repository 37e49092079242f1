//! Whether a `Sampler` is the program's allocator, and its start, before `main`.

use std::any::type_name;
use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use super::super::live::Found;
use super::super::stack;
use super::super::tier::{Rate, Tier};
use super::{sample, thread};
use crate::error::Error;

type Name = fn() -> &'static str;

/// The name of what is wrapped, a [`Name`], null before it has been asked for memory.
static WRAPPED: AtomicPtr<()> = AtomicPtr::new(null_mut());

/// The rate that it was declared with.
static DECLARED: AtomicU32 = AtomicU32::new(thread::OFF);

/// Notes that there is a `Sampler`, and what like. The first one counts.
pub(super) fn note<A>(lg_sample: Option<u32>) {
    if WRAPPED.load(Ordering::Relaxed).is_null() {
        let name: Name = type_name::<A>;
        DECLARED.store(lg_sample.unwrap_or(thread::OFF), Ordering::Relaxed);
        WRAPPED.store(name as *mut (), Ordering::Release);
    }
}

fn wrapped() -> &'static str {
    let name = WRAPPED.load(Ordering::Acquire);
    // SAFETY: all that is ever stored but null is a `Name`.
    let name = (!name.is_null()).then(|| unsafe { std::mem::transmute::<*mut (), Name>(name) });
    name.map_or("", |name| name())
}

/// A `Sampler` that is the program's allocator.
pub(in crate::heap) struct Active {
    /// Why no stacks are taken.
    no_stacks: Option<String>,
    since: Mutex<Option<SystemTime>>,
    /// The rate that is, or was before it was switched off.
    rate: AtomicU32,
}

static ACTIVE: OnceLock<Active> = OnceLock::new();

/// The one that is in use, if it is.
pub(in crate::heap) fn active() -> Option<&'static Active> {
    if ACTIVE.get().is_none() {
        start();
    }
    ACTIVE.get()
}

/// Counts each stage's allocated bytes from now on, and samples the heap, if a `Sampler` is the program's allocator.
extern "C" fn start() {
    if is_in_use() {
        ACTIVE.get_or_init(activate);
    }
}

/// Before `main`, so that all that the program allocates from there on is sampled, and every thread's bytes are counted. A program with
/// another allocator makes and frees a box.
#[cfg(not(miri))]
#[used]
// SAFETY: functions of this type are what the section holds.
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

/// Whether the program's memory comes by a `Sampler`.
fn is_in_use() -> bool {
    let allocated = thread::allocated();
    // SAFETY: the counter is this thread's own.
    let count = || unsafe { allocated.read_volatile() };
    let before = count();
    drop(black_box(Box::new([0_u8; 64])));
    count() != before
}

fn activate() -> Active {
    // SAFETY: the counter is valid until its thread has ended.
    unsafe { stagelight::__private::set_allocation_counter(|| Some(thread::allocated())) };
    refresh();
    let declared = DECLARED.load(Ordering::Relaxed);
    let active = Active {
        no_stacks: test_stack().err(),
        since: Mutex::new(None),
        rate: AtomicU32::new(if declared == thread::OFF { 19 } else { declared }),
    };
    if declared != thread::OFF {
        active.switch(declared);
    }
    active
}

/// Sees that there are stacks to be had.
fn test_stack() -> Result<(), String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("our unwinder needs x86_64".into());
    }
    // At least this function, a frame that says that no table led on, and the word that says what the thread is in.
    if stack::take(&mut [0; 8]) <= 3 {
        return Err("the program has no unwind tables".into());
    }
    Ok(())
}

/// Makes stacks reach into libraries that were loaded since.
fn refresh() {
    #[cfg(target_arch = "x86_64")]
    crate::unwind::refresh();
}

impl Active {
    fn switch(&self, rate: u32) {
        self.rate.store(rate, Ordering::Relaxed);
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get_or_insert_with(SystemTime::now);
        thread::set_rate(rate);
    }

    fn interval(&self) -> u64 {
        1 << self.rate.load(Ordering::Relaxed)
    }
}

impl Tier for Active {
    fn name(&self) -> String {
        let with = if self.no_stacks.is_none() { " with framehop" } else { "" };
        format!("Sampler over {}{with}", wrapped())
    }

    fn lacks(&self) -> Option<(&'static str, &str)> {
        self.no_stacks.as_deref().map(|reason| ("stacks", reason))
    }

    fn since(&self) -> Option<SystemTime> {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rate(&self) -> Result<Rate, String> {
        Ok(Rate { interval: self.interval(), on: thread::rate() != thread::OFF })
    }

    fn set(&self, lg_sample: Option<u32>) -> Result<(), Error> {
        refresh();
        match lg_sample {
            Some(rate) => self.switch(rate),
            None => thread::set_rate(thread::OFF),
        }
        Ok(())
    }

    fn live(&self) -> Result<Found, Error> {
        refresh();
        Ok(sample::found(self.interval()))
    }

    fn tell(&self, _whether: bool) -> Result<(), String> {
        // It tells of each in any case.
        Ok(())
    }

    fn leave_out_this_thread(&self) {
        thread::leave_out();
    }
}

/// Bytes that sampling keeps.
pub(in crate::heap) fn bytes() -> usize {
    if ACTIVE.get().is_some() { sample::bytes() } else { 0 }
}
