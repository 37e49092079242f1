//! Setting another rate, without a race that jemalloc has there.
//!
//! What it keeps of a thread that has ended goes with the thread's last sampled object: who frees that one looks under one lock
//! whether it was the last, and removes the rest under another. `prof.reset` removes what is empty, too. If it comes between the
//! two, both remove the same, and the process crashes (jemalloc#2681, in 5.3.1 too): `--bin soak` did within minutes.
//!
//! So nobody frees a sampled object meanwhile: jemalloc's hook for that, which is set for this time alone, holds up who wants to.
//! Who came before the hook is awaited: it has left the two locks once it has run for a while, or sleeps, and all that ran then
//! have run for a while. If that takes too long, nothing is reset.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::control;
use crate::clock;
use crate::error::Error;

/// Its type, as `experimental.hooks.prof_sample_free` takes it: address and size.
type Hook = unsafe extern "C" fn(*const c_void, usize);

/// As a thread holds another up that sleeps, and one a third.
const ROUNDS: usize = 3;

/// From one lock to the other it takes about a microsecond.
const LONG_ENOUGH_NS: u64 = 200_000;

/// For all rounds together.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who resets: process and thread, or 0 for nobody.
static RESETTING: AtomicU64 = AtomicU64::new(0);

fn this_thread() -> u64 {
    // SAFETY: neither has preconditions.
    let (process, thread) = unsafe { (libc::getpid(), libc::gettid()) };
    u64::from(process as u32) << 32 | u64::from(thread as u32)
}

/// Has jemalloc forget its samples, and take one in 2^`lg_sample` bytes from now on.
pub(super) fn reset(lg_sample: usize) -> Result<(), Error> {
    const HOOK: &std::ffi::CStr = c"experimental.hooks.prof_sample_free";
    const SAMPLED: &std::ffi::CStr = c"thread.prof.active";
    /// Lets all go on, whatever happens.
    struct Held {
        /// Whether this thread's allocations were sampled.
        sampled: Option<bool>,
    }
    impl Drop for Held {
        fn drop(&mut self) {
            if let Some(sampled) = self.sampled {
                // If it fails, this thread's allocations are not in profiles.
                // SAFETY: the manual gives `bool`.
                let _ = unsafe { control::write(SAMPLED, sampled) };
            }
            // If jemalloc will not let go of the hook, it holds nobody up any more.
            // SAFETY: jemalloc 5.3 gives this name the type of `Hook`, or null for none.
            let _ = unsafe { control::write::<Option<Hook>>(HOOK, None) };
            RESETTING.store(0, Ordering::Release);
        }
    }
    let refused = |error: String| Error::Unsupported(format!("prof.reset: {error}"));
    // A dump holds a lock that who is to move on may wait for, and that jemalloc would wait for while others are held up.
    let _no_dump = super::dumping();
    // SAFETY: as above.
    let former = unsafe { control::read::<Option<Hook>>(HOOK) }.map_err(refused)?;
    // A process that was forked meanwhile has ours still.
    if former.is_some_and(|former| former as usize != hold as *const () as usize) {
        let why = "the program has a hook of its own for sampled memory that is freed";
        return Err(refused(why.into()));
    }
    // A sample of this thread might wait for the loader's lock, in libgcc's unwinder, which who is held up may have.
    // SAFETY: the manual gives `bool`.
    let sampled = unsafe {
        let sampled = control::read::<bool>(SAMPLED).ok();
        sampled.filter(|_| control::write(SAMPLED, false).is_ok())
    };
    RESETTING.store(this_thread(), Ordering::Release);
    let _held = Held { sampled };
    // SAFETY: as above.
    unsafe { control::write::<Option<Hook>>(HOOK, Some(hold)) }.map_err(refused)?;
    if !others_moved_on() {
        return Err(Error::Busy(
            "the machine is too busy to set another rate of heap samples safely; try again".into(),
        ));
    }
    // SAFETY: the manual gives `size_t`.
    unsafe { control::write(c"prof.reset", lg_sample) }.map_err(refused)
}

/// Holds up who frees sampled memory while another thread resets. It holds none of jemalloc's locks, and nothing that who
/// resets could wait for.
///
/// # Safety
/// None is needed: nothing is read from the address.
unsafe extern "C" fn hold(_address: *const c_void, _bytes: usize) {
    // SAFETY: errno is the thread's own.
    let errno = unsafe { *libc::__errno_location() };
    let (me, moment) = (this_thread(), libc::timespec { tv_sec: 0, tv_nsec: 100_000 });
    loop {
        let resetting = RESETTING.load(Ordering::Acquire);
        // In the child of a `fork` nobody resets, whatever it says there.
        if resetting == 0 || resetting == me || resetting >> 32 != me >> 32 {
            break;
        }
        // SAFETY: the time is ours.
        unsafe { libc::nanosleep(&raw const moment, std::ptr::null_mut()) };
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Waits until each other thread has run for a while or sleeps, some times over.
fn others_moved_on() -> bool {
    let (start, own) = (Instant::now(), this_thread() as i32);
    for _ in 0..ROUNDS {
        let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return false };
        let tids = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse::<i32>().ok());
        let mut waiting: Vec<(i32, u64)> = tids
            .filter(|&tid| tid != own)
            .filter_map(|tid| Some((tid, clock::thread_cpu_ns(tid).ok()?)))
            .collect();
        loop {
            waiting.retain(|&(tid, before)| {
                clock::thread_cpu_ns(tid).is_ok_and(|now| now < before + LONG_ENOUGH_NS) && wants_to_run(tid)
            });
            if waiting.is_empty() {
                break;
            }
            if start.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    true
}

/// Whether a thread runs, waits for a core, or for a page; not if it sleeps or has ended.
fn wants_to_run(tid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap_or_default();
    // The name, which may hold anything, ends in the last parenthesis.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('S' | 'I' | 'Z' | 'X') | None)
}
