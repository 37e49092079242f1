//! The CPU time of Stagelight's own threads: what they use is part of what Stagelight costs.

use std::any::Any;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use super::cpu_time;
use crate::record::fork::{self, AtFork};

struct OwnThreads {
    /// Ids of those that run.
    running: Vec<u32>,
    /// What those that ended have used.
    ended_ns: u64,
}

static THREADS: Mutex<OwnThreads> = Mutex::new(OwnThreads { running: Vec::new(), ended_ns: 0 });

thread_local! {
    static HOLD: Hold = Hold::new();
}

/// Has the thread counted until it ends.
struct Hold(u32);

impl Hold {
    fn new() -> Self {
        let thread = cpu_time::own_thread();
        lock().running.push(thread);
        Self(thread)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut threads = lock();
        threads.running.retain(|thread| *thread != self.0);
        threads.ended_ns += cpu_time::own_thread_ns();
    }
}

fn lock() -> MutexGuard<'static, OwnThreads> {
    static FORK: Once = Once::new();
    FORK.call_once(|| {
        fork::heed(AtFork { hold: || vec![Box::new(lock()) as Box<dyn Any>], in_child });
    });
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parent's threads are not there, nor is what they used in the child's CPU time.
fn in_child() {
    *lock() = OwnThreads { running: Vec::new(), ended_ns: 0 };
}

/// From now on the calling thread's CPU time counts as Stagelight's. First of all in each of our
/// threads.
pub fn count_own_thread() {
    // Fails where the thread's locals are being destroyed: then it has nothing more to do.
    let _ = HOLD.try_with(|_| ());
}

/// The ids of those that run.
pub(super) fn running() -> Vec<u32> {
    lock().running.clone()
}

/// What Stagelight's own threads have used so far, those that ended included. Costs a system call a
/// thread. Where the system doesn't tell of other threads, it is what those that ended have used.
#[must_use]
pub fn own_threads_cpu() -> Duration {
    let threads = lock();
    let running: u64 = threads.running.iter().map(|&thread| cpu_time::thread_ns(thread)).sum();
    Duration::from_nanos(threads.ended_ns + running)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_counts_while_it_runs_and_once_it_ended() {
        const WORK: Duration = Duration::from_millis(if cfg!(miri) { 0 } else { 30 });
        let before = own_threads_cpu();
        let (used, while_it_ran) = std::thread::spawn(|| {
            count_own_thread();
            count_own_thread();
            while Duration::from_nanos(cpu_time::own_thread_ns()) < WORK {}
            let while_it_ran = own_threads_cpu();
            (Duration::from_nanos(cpu_time::own_thread_ns()), while_it_ran)
        })
        .join()
        .unwrap();
        let after = own_threads_cpu();
        assert!(while_it_ran >= before + WORK && while_it_ran <= after);
        // Not twice. Collectors of other tests may have used some meanwhile.
        assert!(after - before >= used, "{:?} of {used:?}", after - before);
    }
}
