//! CPU time: of a thread, and of the whole process with what a call leaves to other threads.

use std::time::Duration;

/// Nanoseconds of CPU time that the calling thread has used.
pub fn thread_ns() -> f64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Nanoseconds of CPU time that all threads have used.
pub fn process_ns() -> f64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Waits until the other threads of the process have nothing left to do, or ten seconds.
pub fn wait_for_idle() {
    // Longer than the peers' threads sleep between two looks at their queues.
    const PAUSE: Duration = Duration::from_millis(150);
    for _ in 0..66 {
        let before = process_ns();
        std::thread::sleep(PAUSE);
        // They look even if there is nothing.
        if process_ns() - before < PAUSE.as_nanos() as f64 / 200.0 {
            return;
        }
    }
}

fn read(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes; the clocks exist wherever this program runs.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
