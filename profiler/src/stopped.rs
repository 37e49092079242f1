//! Notices that the process did not run for a while: a signal or a debugger had stopped it, or its
//! control group was frozen. Samples say nothing of that time, and waits seem to be longer by it.
//!
//! A thread that looks at intervals finds that one was far too long. On a busy machine that happens
//! as well; but then the thread could have run, which the scheduler accounts, or others of the
//! process did, which its CPU time shows.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock;

/// About how often a thread that watches does so.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// What is not worth a word.
const SHORT: Duration = Duration::from_millis(250);

/// One thread's watch over its own waits.
pub(crate) struct Watch {
    last: Account,
    stopped: Duration,
}

/// What explains that a wait took too long.
struct Account {
    /// For how long the thread could have run and did not, if the kernel tells.
    queued: Duration,
    /// CPU time of the process.
    used: Duration,
}

impl Account {
    fn now() -> Self {
        Self {
            queued: queued().unwrap_or_default(),
            used: Duration::from_nanos(clock::process_cpu_ns().unwrap_or(0)),
        }
    }
}

impl Watch {
    /// Begins, on the thread that will watch.
    pub(crate) fn new() -> Self {
        Self { last: Account::now(), stopped: Duration::ZERO }
    }

    /// Notes what would explain a late wait that comes. To be called every [`LOOK`]; reads a small
    /// file.
    pub(crate) fn look(&mut self) {
        self.last = Account::now();
    }

    /// Takes note of a wait of the thread's that was to take `due`.
    pub(crate) fn waited(&mut self, due: Duration, took: Duration) {
        let late = took.saturating_sub(due);
        if late >= SHORT {
            let now = Account::now();
            let queued = now.queued.saturating_sub(self.last.queued);
            let used = now.used.saturating_sub(self.last.used);
            self.stopped += stopped(late, queued, used);
            self.last = now;
        }
    }

    /// For how long the process did not run, about. Counts from zero afterwards.
    pub(crate) fn take(&mut self) -> Duration {
        std::mem::take(&mut self.stopped)
    }
}

/// A thread that does nothing but watch, for those who have none that waits. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watcher {
    end: Sender<()>,
    thread: JoinHandle<Duration>,
}

impl Watcher {
    /// `None` if there is no thread to be had.
    pub(crate) fn start() -> Option<Self> {
        let (end, ended) = mpsc::channel();
        let watch = move || {
            stagelight::__private::count_own_thread();
            let mut watch = Watch::new();
            loop {
                let since = Instant::now();
                let heard = ended.recv_timeout(LOOK);
                watch.waited(LOOK, since.elapsed());
                if heard != Err(RecvTimeoutError::Timeout) {
                    return watch.take();
                }
                watch.look();
            }
        };
        let thread = std::thread::Builder::new().name("stagelight-stop".into()).spawn(watch).ok()?;
        Some(Self { end, thread })
    }

    /// For how long the process did not run, about.
    pub(crate) fn finish(self) -> Duration {
        drop(self.end);
        self.thread.join().unwrap_or_default()
    }
}

/// How much of a wait's delay it was that the process was stopped.
fn stopped(late: Duration, queued: Duration, used: Duration) -> Duration {
    let cores =
        std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let stopped = late.saturating_sub(queued);
    // What all cores used before and after, between two looks, is no sign that it ran.
    let ran = used.saturating_sub(LOOK.saturating_mul(2 * cores)) > late / 10;
    if stopped < SHORT || ran { Duration::ZERO } else { stopped }
}

/// How long the calling thread waited for a core so far. Source:
/// <https://www.kernel.org/doc/html/latest/scheduler/sched-stats.html>, "/proc/<pid>/schedstat".
fn queued() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split_ascii_whitespace().nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_look_is_a_stop_only_if_nothing_else_explains_it() {
        let ms = Duration::from_millis;
        assert_eq!(stopped(ms(2_000), ms(5), ms(90)), ms(1_995));
        assert_eq!(stopped(ms(2_000), ms(1_900), ms(0)), ms(0), "it waited for a core");
        assert_eq!(stopped(ms(2_000), ms(0), ms(90_000)), ms(0), "others ran");
        assert_eq!(stopped(ms(100), ms(0), ms(0)), ms(0), "hardly late");
    }

    #[test]
    fn waits_that_end_in_time_are_none() {
        let mut watch = Watch::new();
        watch.waited(LOOK, LOOK + Duration::from_millis(20));
        assert_eq!(watch.take(), Duration::ZERO);
    }
}
