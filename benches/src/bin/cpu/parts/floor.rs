//! What the machine takes of 999 signals a second before any profiler does a thing: the same event with a handler that
//! returns at once.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use perf_event_open_sys::{bindings, ioctls, perf_event_open};
use stagelight_benches::harness::turns;

use super::throughput;

const ROUNDS: usize = 61;

/// Per cent of the throughput, round by round; nothing where the event can't be had.
pub fn child() -> Vec<f64> {
    // SAFETY: all-zero is a valid action, with a handler that does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut());
    }
    let with = || {
        let event = open()?;
        let ns = throughput::piece();
        drop(event);
        Some(ns)
    };
    let [without, with] = turns(ROUNDS, [Box::new(|| Some(throughput::piece())), Box::new(with)]);
    without.iter().zip(with).filter_map(|(without, with)| Some((1.0 - (*without)? / with?) * 100.0)).collect()
}

extern "C" fn nothing(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// The profiler's event, for this thread and those that it starts.
fn open() -> Option<OwnedFd> {
    let mut attr = bindings::perf_event_attr::default();
    attr.type_ = bindings::PERF_TYPE_SOFTWARE;
    attr.size = size_of::<bindings::perf_event_attr>() as u32;
    attr.config = u64::from(bindings::PERF_COUNT_SW_CPU_CLOCK);
    attr.__bindgen_anon_1.sample_period = 1_000_000_000 / 999;
    attr.set_exclude_hv(1);
    attr.set_inherit(1);
    attr.set_inherit_thread(1);
    attr.set_sigtrap(1);
    attr.set_remove_on_exec(1);
    attr.set_disabled(1);
    // SAFETY: `attr` is filled in and outlives the call.
    let event = unsafe { perf_event_open(&mut attr, 0, -1, -1, u64::from(bindings::PERF_FLAG_FD_CLOEXEC)) };
    // SAFETY: the call returned a new descriptor, which is ours alone.
    let event = (event >= 0).then(|| unsafe { OwnedFd::from_raw_fd(event) })?;
    // SAFETY: a call on an event of ours.
    (unsafe { ioctls::ENABLE(event.as_raw_fd(), 0) } == 0).then_some(event)
}
