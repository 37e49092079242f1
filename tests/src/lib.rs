//! Helpers of the tests that cross crates: real processes, real clients.

#[cfg(target_os = "linux")]
pub mod cpu;
pub mod fixture;
pub mod totals;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Set in a child process to what it is the child for.
const CHILD: &str = "STAGELIGHT_TEST_CHILD";

/// Whether this process is a child that [`child`] started.
#[must_use]
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// A command that runs one test of this test program in a process of its own. The test asks [`is_child`] which part
/// it plays.
#[must_use]
pub fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test program has a path"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    command
}

/// Runs a command to its end and demands success. What it says on standard error is passed on, for `--nocapture`.
///
/// # Panics
/// If it fails, with what it printed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Says that a check was skipped and why, where `.ci/run` counts it.
pub fn skip(what: &str, why: &str) {
    let line = format!("skipped: {what}: {why}\n");
    eprint!("{line}");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(target_dir().join("skipped.txt"));
    if let Ok(mut file) = file {
        // The line above has been printed in any case.
        let _ = file.write_all(line.as_bytes());
    }
}

/// The workspace's target folder.
///
/// # Panics
/// If the test program does not lie in one.
#[must_use]
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the test program has a path");
    exe.ancestors().nth(3).expect("the test program lies in target/debug/deps").to_owned()
}

/// A tool that is installed, by its name or one of its usual places.
#[must_use]
pub fn tool(candidates: &[&str]) -> Option<String> {
    candidates
        .iter()
        .find(|tool| Command::new(tool).arg("--help").output().is_ok())
        .map(|tool| (*tool).to_owned())
}

/// Starts a thread and gives its id once it sleeps in what it does.
///
/// # Panics
/// If it ends before.
#[cfg(target_os = "linux")]
pub fn until_asleep<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    work: impl FnOnce() + Send + 'scope,
) -> i32 {
    let (told, tid) = std::sync::mpsc::channel();
    scope.spawn(move || {
        // SAFETY: gettid has no preconditions.
        told.send(unsafe { libc::gettid() }).expect("who started it listens");
        work();
    });
    let tid = tid.recv().expect("it says which one it is");
    let sleeps = || {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).expect("it is there");
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    };
    // It may wait for a lock of the allocator's or so on its way.
    let mut times = 0;
    while times < 10 {
        times = if sleeps() { times + 1 } else { 0 };
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    tid
}

/// The CPU time of the calling thread in nanoseconds.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place to write to is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Keeps the CPU busy for that much of the thread's CPU time.
///
/// It seldom looks at the clock: who asks for a thread's CPU time has the scheduler look whether its slice is over, and on a busy
/// machine is off the core then whenever the kernel's tick comes, where CPU timers expire.
pub fn burn(ns: u64) {
    static ROUNDS_PER_MS: OnceLock<u64> = OnceLock::new();
    let rounds_per_ms = *ROUNDS_PER_MS.get_or_init(|| {
        let took = (0..5).map(|_| {
            let start = thread_cpu_ns();
            work(100_000);
            thread_cpu_ns() - start
        });
        100_000 * 1_000_000 / took.min().unwrap_or(1).max(1)
    });
    let end = thread_cpu_ns() + ns;
    loop {
        let left = end.saturating_sub(thread_cpu_ns());
        if left == 0 {
            return;
        }
        // Nine tenths of what is left, so that the end is met.
        work((left * rounds_per_ms / 1_000_000 * 9 / 10).max(500));
    }
}

fn work(rounds: u64) {
    let mut value = 1_u64;
    for _ in 0..rounds {
        value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}
