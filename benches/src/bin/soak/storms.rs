//! What a program does at its worst while it is sampled: each storm is one thread's loop.

use std::backtrace::Backtrace;
use std::ffi::CStr;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stagelight::{query, stage};

use crate::watchdog::Pulse;

/// A storm's name for the report, and one round of it.
pub(crate) struct Storm {
    pub(crate) pulse: Pulse,
    round: fn(u64),
}

pub(crate) static STORMS: [Storm; 7] = [
    Storm::new("panics", panics),
    Storm::new("mallocs", mallocs),
    Storm::new("backtraces", |_| drop(black_box(Backtrace::force_capture().to_string()))),
    Storm::new("dlopen", dlopen),
    Storm::new("churn", churn),
    Storm::new("forks", fork),
    Storm::new("heap profiles", heap_profile),
];

impl Storm {
    pub(crate) const fn new(name: &'static str, round: fn(u64)) -> Self {
        Self { pulse: Pulse::new(name), round }
    }

    /// Rounds until told to stop.
    pub(crate) fn rage(&self, stop: &AtomicBool) {
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            (self.round)(number);
            number += 1;
            self.pulse.beat();
        }
    }
}

#[stage(name = "soak.panic")]
fn panics(number: u64) {
    #[inline(never)]
    fn deeper(depth: u64) -> u64 {
        let _dropped_by_the_unwinder = Box::new(depth);
        if depth == 0 {
            panic!("of the storm");
        }
        black_box(deeper(depth - 1)) + 1
    }
    let caught = catch_unwind(AssertUnwindSafe(|| deeper(number % 40)));
    assert!(caught.is_err());
}

#[query(key = "mallocs", tenant = if number.is_multiple_of(2) { "even" } else { "odd" })]
fn mallocs(number: u64) {
    let mut kept = Vec::new();
    for step in 0..500_u64 {
        let size = 16 << ((number.wrapping_mul(31) + step) % 14);
        kept.push(black_box(vec![0_u8; size as usize]));
        if step % 3 == 0 {
            kept.swap_remove((step as usize * 7) % kept.len());
        }
        // C's own allocator as well.
        // SAFETY: the memory is freed once.
        unsafe { libc::free(black_box(libc::malloc(size as usize))) };
    }
}

fn dlopen(number: u64) {
    const LIBRARIES: [&CStr; 6] =
        [c"libm.so.6", c"libresolv.so.2", c"libutil.so.1", c"libnss_dns.so.2", c"libz.so.1", c"libanl.so.1"];
    let name = LIBRARIES[number as usize % LIBRARIES.len()];
    // SAFETY: system libraries, whose initializers do nothing of note; what was opened is closed once.
    unsafe {
        let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if !library.is_null() {
            black_box(libc::dlsym(library, c"deflate".as_ptr()));
            libc::dlclose(library);
        }
    }
}

/// Threads that storms have started so far.
pub(crate) static STARTED: AtomicU64 = AtomicU64::new(0);

/// Threads of the churn that have not ended.
static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

/// Ten threads every ten milliseconds: a thousand a second, if the machine can. Nobody waits for them, but no more than a
/// few hundred are there at a time.
fn churn(number: u64) {
    #[query(key = "churn", tenant = "churn")]
    fn in_a_query(rounds: u64) {
        work(rounds);
    }
    fn work(rounds: u64) {
        (0..rounds).for_each(|round| {
            black_box(round);
        });
    }
    let start = Instant::now();
    for thread in 0..10_u64 {
        if IN_FLIGHT.load(Ordering::Relaxed) >= 300 {
            break;
        }
        IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
        STARTED.fetch_add(1, Ordering::Relaxed);
        std::thread::spawn(move || {
            let rounds = 1000 << ((number + thread) % 8);
            // Half of them never touch the sdk.
            if thread % 2 == 0 {
                in_a_query(rounds)
            } else {
                work(rounds)
            }
            IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        });
    }
    std::thread::sleep(Duration::from_millis(10).saturating_sub(start.elapsed()));
}

/// A plain `fork` that executes another program, and one by the standard library in turns.
pub(crate) fn fork(number: u64) {
    if number.is_multiple_of(2) {
        let status = std::process::Command::new("/bin/true").status();
        assert!(status.is_ok_and(|status| status.success()), "/bin/true");
    } else {
        let arguments = [c"true".as_ptr(), std::ptr::null()];
        let mut status = 0;
        // SAFETY: the child calls nothing that is not async-signal-safe.
        unsafe {
            match libc::fork() {
                0 => {
                    libc::execv(c"/bin/true".as_ptr(), arguments.as_ptr());
                    libc::_exit(1);
                }
                child => {
                    assert!(child > 0, "fork");
                    assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                }
            }
        }
        assert_eq!(status, 0, "the child of a fork ended badly");
    }
    std::thread::sleep(Duration::from_millis(20));
}

fn heap_profile(_: u64) {
    let profile = stagelight_profiler::heap().run();
    assert!(profile.is_ok(), "{profile:?}");
    std::thread::sleep(Duration::from_millis(300));
}
