//! Turning jemalloc's sampling on, with our unwinder in it, once and before `main`.

use std::sync::OnceLock;
use std::time::SystemTime;

use super::{control, sampled};

/// How the heap is sampled.
#[derive(Clone, Debug)]
pub(in crate::heap) struct Active {
    pub(super) since: SystemTime,
    /// Whose unwinder takes the stacks; only ours labels them.
    pub(super) unwinder: &'static str,
    /// Why it is not ours, if it isn't.
    pub(super) own_unwinder_refused: Option<String>,
    /// Why sampled allocations can't be counted as they are made, if they can't.
    pub(super) allocations_told: Result<(), String>,
}

static ACTIVE: OnceLock<Result<Active, String>> = OnceLock::new();

/// How the heap is sampled, or why it is not; `None` if the program does not declare `heap_profiler!`.
pub(in crate::heap) fn active() -> Option<Result<&'static Active, String>> {
    ACTIVE.get().map(|active| active.as_ref().map_err(String::clone))
}

/// Counts each stage's allocated bytes from now on, and samples the heap. Called before `main` by what
/// `heap_profiler!` declares.
pub extern "C" fn start() {
    ACTIVE.get_or_init(|| {
        // SAFETY: jemalloc's counter is valid until its thread has ended.
        unsafe { stagelight::__private::set_allocation_counter(control::thread_allocated) };
        activate()
    });
}

fn activate() -> Result<Active, String> {
    if !control::is_in_use() {
        return Err("another allocator than the jemalloc of `heap_profiler!` is in use".into());
    }
    // SAFETY: the manual gives `bool` for both.
    unsafe {
        if !control::read::<bool>(c"opt.prof").unwrap_or(false) {
            return Err(
                "jemalloc runs with prof:false; is MALLOC_CONF set, or another `malloc_conf` linked?".into(),
            );
        }
        let own = install_own_unwinder();
        control::write(c"prof.active", true).map_err(|error| format!("prof.active: {error}"))?;
        let own = own.and_then(self_test);
        Ok(Active {
            since: SystemTime::now(),
            unwinder: if own.is_ok() { "framehop" } else { "libgcc" },
            own_unwinder_refused: own.err(),
            allocations_told: sampled::test(),
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn install_own_unwinder() -> Result<super::hook::Hook, String> {
    const HOOK: &std::ffi::CStr = c"experimental.hooks.prof_backtrace";
    crate::unwind::refresh();
    // SAFETY: jemalloc 5.3 gives this name the type of `Hook`; `self_test` looks whether it is called.
    unsafe {
        let former = control::read::<super::hook::Hook>(HOOK)?;
        control::write::<super::hook::Hook>(HOOK, super::hook::backtrace)?;
        Ok(former)
    }
}

/// The interface is experimental: sees that a sampled allocation's stack comes from us, else gives the former
/// unwinder its place back.
#[cfg(target_arch = "x86_64")]
fn self_test(former: super::hook::Hook) -> Result<(), String> {
    use std::sync::atomic::Ordering;

    let before = super::super::stack::TAKEN.load(Ordering::Relaxed);
    if let Err(reason) = control::sample() {
        restore(former)?;
        return Err(reason);
    }
    if super::super::stack::TAKEN.load(Ordering::Relaxed) > before {
        return Ok(());
    }
    restore(former)?;
    Err("jemalloc sampled an allocation and did not call our unwinder".into())
}

#[cfg(target_arch = "x86_64")]
fn restore(former: super::hook::Hook) -> Result<(), String> {
    // SAFETY: the hook that jemalloc had before.
    unsafe { control::write(c"experimental.hooks.prof_backtrace", former) }
}

#[cfg(not(target_arch = "x86_64"))]
fn install_own_unwinder() -> Result<(), String> {
    Err("our unwinder needs x86_64".into())
}

#[cfg(not(target_arch = "x86_64"))]
fn self_test((): ()) -> Result<(), String> {
    Ok(())
}
