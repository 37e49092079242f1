//! Queued signals: SIGURG to one thread, with a code that says what for, and a value.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// What one is sent for. The `si_code`s are any numbers below zero but the system's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The walker visits a thread, for a wall-clock profile.
    Visit = -0x5374,
    /// The sampler thread, the lowest rung, asks one for a sample.
    Ask = -0x5375,
}

/// As much of `siginfo_t` as a signal with a value takes.
#[repr(C)]
struct Info {
    signo: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    _padding: libc::c_int,
    pid: libc::pid_t,
    uid: libc::uid_t,
    value: u64,
    _rest: [u64; 12],
}

const _: () = assert!(size_of::<Info>() == size_of::<libc::siginfo_t>());

/// Whether signals were sent without a code of ours, because a queued one was refused.
static UNMARKED: AtomicBool = AtomicBool::new(false);

/// Sends one. Our handler for the signal is installed.
///
/// # Errors
/// `ESRCH` if the thread has ended.
pub(super) fn send(tid: i32, purpose: Purpose, value: u64) -> io::Result<()> {
    // SAFETY: neither has preconditions.
    let (pid, uid) = unsafe { (libc::getpid(), libc::getuid()) };
    let signo = libc::SIGURG;
    let info =
        Info { signo, errno: 0, code: purpose as libc::c_int, _padding: 0, pid, uid, value, _rest: [0; 12] };
    // SAFETY: the kernel reads `info`, which is as large as it expects.
    sent(unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signo, &raw const info) })
}

/// Sends one that can say nothing, where a filter of system calls refuses queued ones.
///
/// # Errors
/// `ESRCH` if the thread has ended.
pub(super) fn send_unmarked(tid: i32) -> io::Result<()> {
    UNMARKED.store(true, Ordering::Relaxed);
    // SAFETY: the call takes numbers alone.
    sent(unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGURG) })
}

/// Whether one of the two can be sent, by a call that sends nothing.
///
/// # Errors
/// What refuses the plain one.
pub(super) fn may_send(tid: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers alone, and signal 0 is none.
    sent(unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, 0) })
}

fn sent(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// One of ours, with its value.
    For(Purpose, u64),
    /// It may be one of ours of which the kernel had no room to say more (`RLIMIT_SIGPENDING`): it names nobody as its sender.
    SaysNothing,
    /// It may be one of [`send_unmarked`]: the process sent it.
    Unmarked,
    Not,
}

/// What a signal is. Async-signal-safe.
///
/// # Safety
/// `info` is what the kernel handed to a handler with `SA_SIGINFO`.
pub(super) unsafe fn read(info: *const libc::siginfo_t) -> Queued {
    // SAFETY: by the caller's promise; the two have the same size, and any bits are numbers.
    let Info { code, pid, value, .. } = unsafe { info.cast::<Info>().read_unaligned() };
    // SAFETY: getpid has no preconditions and is async-signal-safe.
    let own = || unsafe { libc::getpid() };
    match code {
        code if code == Purpose::Visit as libc::c_int => Queued::For(Purpose::Visit, value),
        code if code == Purpose::Ask as libc::c_int => Queued::For(Purpose::Ask, value),
        libc::SI_USER if pid == 0 => Queued::SaysNothing,
        libc::SI_TKILL if UNMARKED.load(Ordering::Relaxed) && pid == own() => Queued::Unmarked,
        _ => Queued::Not,
    }
}
