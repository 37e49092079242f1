//! One perf event on one thread: of its CPU clock, which both perf rungs sample by, or of another count.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use perf_event_open_sys::{bindings, ioctls};

use super::tasks;
use crate::error::Error;

/// An open event. Dropping it ends it.
pub(super) struct PerfEvent(OwnedFd);

/// Which event: the kernel's `PERF_TYPE_…` and the type's number of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) kind: u32,
    pub(super) config: u32,
}

impl Source {
    pub(super) const CPU_CLOCK: Self = Self::software(bindings::PERF_COUNT_SW_CPU_CLOCK);

    pub(super) const fn hardware(config: u32) -> Self {
        Self { kind: bindings::PERF_TYPE_HARDWARE, config }
    }

    pub(super) const fn software(config: u32) -> Self {
        Self { kind: bindings::PERF_TYPE_SOFTWARE, config }
    }
}

impl PerfEvent {
    /// What is the same for all: a period, which of the CPU clock is in nanoseconds, to begin when enabled.
    pub(super) fn attributes(source: Source, period: u64, user_only: bool) -> bindings::perf_event_attr {
        let mut attr = bindings::perf_event_attr::default();
        attr.type_ = source.kind;
        attr.size = size_of::<bindings::perf_event_attr>() as u32;
        attr.config = u64::from(source.config);
        attr.__bindgen_anon_1.sample_period = period;
        attr.set_disabled(1);
        attr.set_exclude_kernel(u64::from(user_only));
        attr.set_exclude_hv(1);
        attr
    }

    /// Opens an event on a thread, disabled. `ESRCH` if the thread ended.
    pub(super) fn open(tid: i32, mut attr: bindings::perf_event_attr) -> io::Result<Self> {
        let flags = u64::from(bindings::PERF_FLAG_FD_CLOEXEC);
        // SAFETY: `attr` is filled in and outlives the call.
        let fd = unsafe { perf_event_open_sys::perf_event_open(&mut attr, tid, -1, -1, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned a new descriptor, which is ours alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(super) fn enable(&self) -> io::Result<()> {
        // SAFETY: a call on an event of ours. `REFRESH` hangs some kernels; this does not.
        match unsafe { ioctls::ENABLE(self.0.as_raw_fd(), 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Has a BPF program decide on each sample.
    pub(super) fn filter_by(&self, program: i32) -> io::Result<()> {
        // SAFETY: a call on an event of ours; the kernel looks the program's descriptor up.
        match unsafe { ioctls::SET_BPF(self.0.as_raw_fd(), program as u32) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(super) fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl Drop for PerfEvent {
    fn drop(&mut self) {
        // Closing is not enough: a process that was forked meanwhile has the descriptor too, and would keep it going.
        // SAFETY: a call on an event of ours. If it fails, closing the event ends it all the same.
        unsafe { ioctls::DISABLE(self.0.as_raw_fd(), 0) };
    }
}

/// Why an event that counts in the kernel can't be had, and what it takes.
pub(super) fn what_it_takes(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
            let paranoid = paranoid.as_deref().map_or("not known", str::trim);
            format!(
                "perf_event_open: {error}. It takes CAP_PERFMON, or kernel.perf_event_paranoid at 1 or less, which is \
                 {paranoid} here; and in a container a seccomp profile that lets perf_event_open pass"
            )
        }
        Some(_) => format!("perf_event_open: {error}"),
        None => error.to_string(),
    }
}

/// How many threads may have so many events each: their descriptors may take half of those that the host has left. Refuses if
/// the threads there are want more.
pub(super) fn spare_descriptors(events: u64) -> Result<usize, Error> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the place to write to is ours.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let (free, threads) = (limit.rlim_cur.saturating_sub(open), tasks::list().len() as u64);
    let wanted = events * threads;
    if wanted <= free / 2 {
        return Ok(usize::try_from(free / 2 / events).unwrap_or(usize::MAX));
    }
    Err(Error::Refused(format!(
        "{threads} threads want {wanted} descriptors, and RLIMIT_NOFILE leaves the process {free}"
    )))
}
