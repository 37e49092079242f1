//! What keeps a sample that falls due within `execve` from killing the program that comes after.
//!
//! A trap that the kernel owes a thread outlives `execve`, which takes the handlers away, and the
//! default action of SIGTRAP is death. No code of ours runs within `execve`, so the kernel itself
//! must leave such samples out: each event that may see the kernel has a BPF program that refuses
//! them as long as the thread's system call is `execve`, until the kernel takes the event away
//! (`remove_on_exec`). An event that sees user code alone needs none: its trap is delivered before
//! the thread can make a system call.
//!
//! A processor's own counters interrupt by a non-maskable interrupt, which may come in the first
//! instructions of the call, before the kernel has noted its number: such a sample is not left out.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::perf_event::{PerfEvent, Source};
use super::{never_execs, tasks};

/// From Linux 6.11 on a program that refuses a sample keeps its signal back too.
const KERNEL: (u32, u32) = (6, 11);

/// The program, for events to be guarded by it; none where the host has promised that none is
/// needed.
pub(super) struct ExecGuard(Option<OwnedFd>);

impl ExecGuard {
    /// What events that see the kernel are to be guarded by. `PermissionDenied` if the process may
    /// not see the kernel, or has no guard and no promise:
    /// [`what_it_takes`](super::perf_event::what_it_takes) says why.
    pub(super) fn for_kernel() -> io::Result<Self> {
        // Whether the process may see the kernel comes first: it is the commoner reason.
        PerfEvent::open(tasks::own(), PerfEvent::attributes(Source::CPU_CLOCK, 1_000_000_000, false))?;
        if never_execs::promised() {
            return Ok(Self(None));
        }
        let refused = |why: String| {
            io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "a sample that falls due within exec would kill the program that comes after, and can't be left out: \
                     {why}. It takes Linux 6.11, CAP_BPF and CAP_PERFMON; or a program that never execs says so by \
                     stagelight_profiler::never_execs()"
                ),
            )
        };
        let kernel = tasks::kernel_version();
        if kernel < KERNEL {
            return Err(refused(format!("this is Linux {}.{}", kernel.0, kernel.1)));
        }
        load().map(|program| Self(Some(program))).map_err(|error| refused(format!("bpf: {error}")))
    }

    /// Guards an event that is not enabled yet.
    pub(super) fn attach(&self, event: &PerfEvent) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |program| event.filter_by(program.as_raw_fd()))
    }
}

/// An instruction of BPF. Source: Documentation/bpf/standardization/instruction-set.rst.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64
        | (to as u64) << 8
        | (from as u64) << 12
        | (offset as u16 as u64) << 16
        | (value as u32 as u64) << 32
}

const CALL: u8 = 0x85;
const MOVE: u8 = 0xbf;
const MOVE_VALUE: u8 = 0xb7;
const LOAD_U64: u8 = 0x79;
const JUMP_IF_VALUE: u8 = 0x15;
const EXIT: u8 = 0x95;

/// Helpers of the kernel's by number: `bpf_get_current_task_btf` and `bpf_task_pt_regs`.
const CURRENT_TASK: i32 = 158;
const TASK_REGISTERS: i32 = 175;

/// Where the number of the system call that a thread is in lies among its registers (`orig_ax` of
/// `struct pt_regs`).
const SYSTEM_CALL: i16 = 120;

/// 0, which refuses the sample, if the thread is within `execve` or `execveat`, else 1.
const PROGRAM: [u64; 9] = [
    instruction(CALL, 0, 0, 0, CURRENT_TASK),
    instruction(MOVE, 1, 0, 0, 0),
    instruction(CALL, 0, 0, 0, TASK_REGISTERS),
    instruction(LOAD_U64, 1, 0, SYSTEM_CALL, 0),
    instruction(MOVE_VALUE, 0, 0, 0, 0),
    instruction(JUMP_IF_VALUE, 1, 0, 2, libc::SYS_execve as i32),
    instruction(JUMP_IF_VALUE, 1, 0, 1, libc::SYS_execveat as i32),
    instruction(MOVE_VALUE, 0, 0, 0, 1),
    instruction(EXIT, 0, 0, 0, 0),
];

/// Has the kernel check the program.
fn load() -> io::Result<OwnedFd> {
    /// The part of `union bpf_attr` for this command.
    #[repr(C)]
    struct Load {
        kind: u32,
        instructions: u32,
        program: *const u64,
        licence: *const libc::c_char,
        log_level: u32,
        log_size: u32,
        log: usize,
        kernel: u32,
        flags: u32,
        name: [u8; 16],
    }
    const PROG_LOAD: libc::c_int = 5;
    const PERF_EVENT: u32 = 7;
    let load = Load {
        kind: PERF_EVENT,
        instructions: PROGRAM.len() as u32,
        program: PROGRAM.as_ptr(),
        // The helpers are for programs that are under the GPL as well.
        licence: c"Dual MIT/GPL".as_ptr(),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
        name: *b"stagelight_exec\0",
    };
    // SAFETY: the kernel reads the structure, of the size that it is told, and what it points to;
    // all outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned a new descriptor, which is ours alone and is closed on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
