//! What a thread does, as the kernel tells it: nothing is stopped, and no signal sent.

/// What a thread does, or an async query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadState {
    /// On a core. What is seen at an instant may be waiting for one; over time the two are told apart.
    Running,
    /// It could run, and others do.
    Runnable,
    /// Waiting for a lock.
    Lock,
    /// Waiting for a file, a disk, a socket, or for one of several to be ready.
    Io,
    /// Waiting for a condition: a channel, a notification, another thread's end.
    Condition,
    /// Waiting for time to pass.
    Sleep,
    /// Waiting for something else: a signal, another process.
    Waiting,
    /// The system does not say.
    Unknown,
    /// Not on any thread: an async query that waits to be polled.
    Awaiting,
}

impl ThreadState {
    /// The name in reports and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ThreadState::Running => "running",
            ThreadState::Runnable => "runnable",
            ThreadState::Lock => "lock",
            ThreadState::Io => "io",
            ThreadState::Condition => "condition",
            ThreadState::Sleep => "sleep",
            ThreadState::Waiting => "waiting",
            ThreadState::Unknown => "unknown",
            ThreadState::Awaiting => "awaiting",
        }
    }

    /// Whether a thread stays in it until it runs again.
    pub(super) fn waits(self) -> bool {
        use ThreadState::{Condition, Io, Lock, Sleep, Waiting};
        matches!(self, Lock | Io | Condition | Sleep | Waiting)
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::{cpu_ns, now, threads};

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::Read as _;

    use super::ThreadState;
    use crate::lock::private::{WaitsFor, waiter};

    /// The ids of all threads of the process.
    pub(in super::super) fn threads() -> Vec<u32> {
        let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// The CPU time of a thread of this process. `None` if it has ended.
    pub(in super::super) fn cpu_ns(thread: u32) -> Option<u64> {
        // The kernel's number for the CPU clock of one thread:
        // MAKE_THREAD_CPUCLOCK(tid, CPUCLOCK_SCHED).
        let clock = (!(thread as i32) << 3) | 6;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the place to write to is ours; a thread that ended makes the call fail.
        (unsafe { libc::clock_gettime(clock, &raw mut time) } == 0)
            .then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    /// What a thread does at this instant. Reads a file, some 5 µs.
    pub(in super::super) fn now(thread: u32) -> ThreadState {
        let mut room = [0; 512];
        match read(thread, "syscall", &mut room).and_then(|line| of_call(thread, line)) {
            Some(state) => state,
            // Where the kernel does not tell the call.
            None => read(thread, "stat", &mut room).map_or(ThreadState::Unknown, of_stat),
        }
    }

    fn read<'a>(thread: u32, file: &str, room: &'a mut [u8]) -> Option<&'a str> {
        let mut file = File::open(format!("/proc/self/task/{thread}/{file}")).ok()?;
        let length = file.read(room).ok()?;
        str::from_utf8(&room[..length]).ok()
    }

    /// By the number of the call that it waits in, and its arguments.
    /// Source: proc_pid_syscall(5).
    fn of_call(thread: u32, line: &str) -> Option<ThreadState> {
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        if first == "running" {
            return Some(ThreadState::Running);
        }
        let number: libc::c_long = first.parse().ok()?;
        if number == libc::SYS_futex {
            let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
            let (_, operation, expected) = (argument()?, argument()?, argument()?);
            return Some(of_futex(thread, operation as i32, expected as u32));
        }
        Some(kind(number))
    }

    /// What waits in a futex is told by our locks, and else by what it expects the futex to hold.
    fn of_futex(thread: u32, operation: i32, expected: u32) -> ThreadState {
        /// What `std`'s mutexes, glibc's and `parking_lot`'s threads expect while they wait.
        const TAKEN: u32 = 2;
        const PARKED: u32 = 1;
        /// In `std`'s reader-writer locks: that readers wait.
        const READERS: u32 = 1 << 30;
        match waiter(thread as i32).map(|waiter| waiter.waits_for) {
            Some(WaitsFor::Lock) => return ThreadState::Lock,
            Some(WaitsFor::Notification) => return ThreadState::Condition,
            Some(WaitsFor::Other) | None => {}
        }
        let locked = match operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) {
            libc::FUTEX_LOCK_PI => true,
            libc::FUTEX_WAIT => matches!(expected, PARKED | TAKEN),
            // A thread that is parked, as in a channel, expects all bits.
            _ => expected == TAKEN || expected & READERS != 0 && expected != u32::MAX,
        };
        if locked { ThreadState::Lock } else { ThreadState::Condition }
    }

    fn kind(number: libc::c_long) -> ThreadState {
        /// A page that comes from a file, or from where it was swapped to.
        const NO_CALL: libc::c_long = -1;
        const IO: &[libc::c_long] = &[
            NO_CALL,
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_close,
            libc::SYS_connect,
            libc::SYS_copy_file_range,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_fallocate,
            libc::SYS_fdatasync,
            libc::SYS_fsync,
            libc::SYS_ftruncate,
            libc::SYS_io_getevents,
            libc::SYS_io_submit,
            libc::SYS_io_uring_enter,
            libc::SYS_msync,
            libc::SYS_openat,
            libc::SYS_ppoll,
            libc::SYS_pread64,
            libc::SYS_preadv,
            libc::SYS_preadv2,
            libc::SYS_pselect6,
            libc::SYS_pwrite64,
            libc::SYS_pwritev,
            libc::SYS_pwritev2,
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_recvfrom,
            libc::SYS_recvmmsg,
            libc::SYS_recvmsg,
            libc::SYS_renameat2,
            libc::SYS_sendfile,
            libc::SYS_sendmmsg,
            libc::SYS_sendmsg,
            libc::SYS_sendto,
            libc::SYS_splice,
            libc::SYS_sync,
            libc::SYS_sync_file_range,
            libc::SYS_syncfs,
            libc::SYS_unlinkat,
            libc::SYS_write,
            libc::SYS_writev,
        ];
        /// Those that newer architectures have no more.
        #[cfg(target_arch = "x86_64")]
        const OLD_IO: &[libc::c_long] = &[
            libc::SYS_epoll_wait,
            libc::SYS_open,
            libc::SYS_poll,
            libc::SYS_rename,
            libc::SYS_select,
            libc::SYS_unlink,
        ];
        #[cfg(not(target_arch = "x86_64"))]
        const OLD_IO: &[libc::c_long] = &[];
        match number {
            libc::SYS_nanosleep | libc::SYS_clock_nanosleep => ThreadState::Sleep,
            libc::SYS_flock => ThreadState::Lock,
            number if IO.contains(&number) || OLD_IO.contains(&number) => ThreadState::Io,
            _ => ThreadState::Waiting,
        }
    }

    /// By the letter of the state.
    /// Source: proc_pid_stat(5).
    fn of_stat(stat: &str) -> ThreadState {
        // "tid (name) S …": the name may hold anything, so the state is looked for from the end of it.
        match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
            Some('R') => ThreadState::Running,
            Some('D') => ThreadState::Io,
            Some('S' | 'I' | 'T' | 't') => ThreadState::Waiting,
            _ => ThreadState::Unknown,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_call_tells_what_a_thread_waits_for() {
            const NOBODY: u32 = 0;
            let wait = |operation: i32, expected: u32| {
                let line =
                    format!("{} 0x7f00 {operation:#x} {expected:#x} 0x0 0x0 0x0 0x1 0x2", libc::SYS_futex);
                of_call(NOBODY, &line)
            };
            let private = |operation| operation | libc::FUTEX_PRIVATE_FLAG;
            let (plain, bitset) = (private(libc::FUTEX_WAIT), private(libc::FUTEX_WAIT_BITSET));
            for (operation, expected, state) in [
                (plain, 1, ThreadState::Lock),
                (plain, 2, ThreadState::Lock),
                (bitset, 2, ThreadState::Lock),
                (bitset, 0x4000_0001, ThreadState::Lock),
                (private(libc::FUTEX_LOCK_PI), 0, ThreadState::Lock),
                (bitset, u32::MAX, ThreadState::Condition),
                (bitset, 0, ThreadState::Condition),
                (plain, 7, ThreadState::Condition),
            ] {
                assert_eq!(wait(operation, expected), Some(state), "{operation:#x}, {expected}");
            }
            let call =
                |number: libc::c_long| of_call(NOBODY, &format!("{number} 0x0 0x0 0x0 0x0 0x0 0x0 0x1 0x2"));
            assert_eq!(call(libc::SYS_clock_nanosleep), Some(ThreadState::Sleep));
            assert_eq!(call(libc::SYS_fsync), Some(ThreadState::Io));
            assert_eq!(call(libc::SYS_wait4), Some(ThreadState::Waiting));
            assert_eq!(of_call(NOBODY, "-1 0x1 0x2"), Some(ThreadState::Io));
            assert_eq!(of_call(NOBODY, "running\n"), Some(ThreadState::Running));
            assert_eq!(of_call(NOBODY, ""), None);
            assert_eq!(of_stat("7 (a ) R b) S 1"), ThreadState::Waiting);
        }
    }
}

/// Elsewhere threads that are in stages are all that is known.
#[cfg(not(target_os = "linux"))]
pub(super) fn threads() -> Vec<u32> {
    Vec::new()
}

/// Not known: 0 at all times.
#[cfg(not(target_os = "linux"))]
pub(super) fn cpu_ns(_thread: u32) -> Option<u64> {
    Some(0)
}

/// Not known.
#[cfg(not(target_os = "linux"))]
pub(super) fn now(_thread: u32) -> ThreadState {
    ThreadState::Unknown
}
