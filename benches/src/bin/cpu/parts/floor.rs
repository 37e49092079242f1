//! What the machine takes of so many signals a second before any profiler does a thing: the same event with a handler that
//! returns at once.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use perf_event_open_sys::{bindings, ioctls, perf_event_open};
use stagelight_benches::harness::turns;

use super::throughput::Workers;

const ROUNDS: usize = 201;

/// Per cent of the throughput, round by round; nothing where the event can't be had.
pub fn child(hz: u64) -> Vec<f64> {
    // SAFETY: all-zero is a valid action, with a handler that does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut());
    }
    let before = tasks();
    let workers = Workers::new();
    let threads: Vec<i32> = tasks().into_iter().filter(|tid| !before.contains(tid)).collect();
    let with = || {
        let events: Vec<OwnedFd> = threads.iter().map(|&tid| open(hz, tid)).collect::<Option<_>>()?;
        let ns = workers.piece();
        drop(events);
        Some(ns)
    };
    let [without, with] = turns(ROUNDS, [Box::new(|| Some(workers.piece())), Box::new(with)]);
    without.iter().zip(with).filter_map(|(without, with)| Some((1.0 - (*without)? / with?) * 100.0)).collect()
}

extern "C" fn nothing(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// The ids of this process's threads.
fn tasks() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// The profiler's event, for a thread.
fn open(hz: u64, tid: i32) -> Option<OwnedFd> {
    let mut attr = bindings::perf_event_attr::default();
    attr.type_ = bindings::PERF_TYPE_SOFTWARE;
    attr.size = size_of::<bindings::perf_event_attr>() as u32;
    attr.config = u64::from(bindings::PERF_COUNT_SW_CPU_CLOCK);
    attr.__bindgen_anon_1.sample_period = 1_000_000_000 / hz;
    attr.set_exclude_hv(1);
    attr.set_inherit(1);
    attr.set_inherit_thread(1);
    attr.set_sigtrap(1);
    attr.set_remove_on_exec(1);
    attr.set_disabled(1);
    // SAFETY: `attr` is filled in and outlives the call.
    let event = unsafe { perf_event_open(&mut attr, tid, -1, -1, u64::from(bindings::PERF_FLAG_FD_CLOEXEC)) };
    // SAFETY: the call returned a new descriptor, which is ours alone.
    let event = (event >= 0).then(|| unsafe { OwnedFd::from_raw_fd(event) })?;
    // SAFETY: a call on an event of ours.
    (unsafe { ioctls::ENABLE(event.as_raw_fd(), 0) } == 0).then_some(event)
}
