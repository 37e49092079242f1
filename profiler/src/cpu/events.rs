//! A perf event on each thread that raises SIGTRAP in the thread itself every so many counts (`attr.sigtrap`, Linux 5.13), and
//! counts on meanwhile. New threads inherit it, so none is missed, and nothing is mapped.

use std::collections::HashSet;
use std::io;

use perf_event_open_sys::bindings;

use super::exec_guard::ExecGuard;
use super::perf_event::{PerfEvent, Source};
use super::{sigtrap, tasks};

/// Which event.
#[derive(Clone, Copy)]
pub(super) struct Spec<'a> {
    pub(super) source: Source,
    /// Counts from one signal to the next.
    pub(super) period: u64,
    /// Told from other events by this number above [`sigtrap::MARK`].
    pub(super) mark: u64,
    /// What guards samples that fall into the kernel. None if user code alone counts, which is all
    /// that an unprivileged process may see.
    pub(super) kernel: Option<&'a ExecGuard>,
}

/// The event, on all threads. Dropping it ends it.
pub(super) struct Events {
    events: Vec<(i32, PerfEvent)>,
    /// Why threads, but not the first one, got none.
    pub(super) refused: Vec<io::Error>,
}

/// What an event came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Total {
    /// Counts of all threads, those that ended too.
    pub(super) count: u64,
    /// Shares of the time in which the event was on the hardware: less than 1 where more events were asked for than the
    /// hardware has counters.
    pub(super) running: f64,
}

impl Events {
    /// Opens the event on all threads. Threads that one with an event starts inherit it; those that one without starts
    /// meanwhile are found by looking again. A thread that has both samples twice as often, each for half the weight.
    pub(super) fn open(spec: Spec<'_>) -> io::Result<Self> {
        let mut all = Self { events: Vec::new(), refused: Vec::new() };
        let mut seen = HashSet::new();
        // A few looks find the children of threads that were not reached yet; a process that goes on making threads
        // that fast has them inherit by then.
        for _ in 0..4 {
            let new: Vec<i32> = tasks::list().into_iter().filter(|&tid| seen.insert(tid)).collect();
            if new.is_empty() {
                break;
            }
            for tid in new {
                match open(tid, spec) {
                    Ok(event) => all.events.push((tid, event)),
                    // The thread ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) if all.events.is_empty() => return Err(error),
                    Err(error) => all.refused.push(error),
                }
            }
        }
        Ok(all)
    }

    /// Has them begin.
    pub(super) fn enable(&self) -> io::Result<()> {
        self.events.iter().try_for_each(|(_, event)| event.enable())
    }

    /// The threads that have one by themselves.
    pub(super) fn threads(&self) -> impl Iterator<Item = i32> {
        self.events.iter().map(|&(tid, _)| tid)
    }

    /// What it came to so far.
    pub(super) fn total(&self) -> Total {
        let (mut count, mut enabled, mut running) = (0, 0, 0);
        for (_, event) in &self.events {
            let mut values = [0_u64; 3];
            // SAFETY: the kernel writes no more than the size that it is told.
            let read = unsafe { libc::read(event.fd(), values.as_mut_ptr().cast(), size_of_val(&values)) };
            if read == size_of_val(&values) as isize {
                count += values[0];
                enabled += values[1];
                running += values[2];
            }
        }
        Total { count, running: if enabled == 0 { 1.0 } else { running as f64 / enabled as f64 } }
    }
}

/// Opens the event on one thread.
fn open(tid: i32, spec: Spec<'_>) -> io::Result<PerfEvent> {
    let mut attr = PerfEvent::attributes(spec.source, spec.period, spec.kernel.is_none());
    attr.sig_data = sigtrap::MARK.wrapping_add(spec.mark);
    attr.read_format =
        u64::from(bindings::PERF_FORMAT_TOTAL_TIME_ENABLED | bindings::PERF_FORMAT_TOTAL_TIME_RUNNING);
    attr.set_inherit(1);
    attr.set_inherit_thread(1);
    attr.set_sigtrap(1);
    // After `exec` the signal would meet a program without a handler. Within it the guard keeps it
    // back.
    attr.set_remove_on_exec(1);
    let event = PerfEvent::open(tid, attr)?;
    spec.kernel.map_or(Ok(()), |guard| guard.attach(&event))?;
    Ok(event)
}
