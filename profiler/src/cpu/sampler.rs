//! The lowest rung: a thread of ours that looks at all threads' CPU clocks and signals those that ran. It needs nothing
//! but the permission to send a signal to oneself.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::queued::{self, Purpose};
use super::roll::{self, Entry};
use super::rung::Trigger;
use super::{random::Random, sigurg, tasks};
use crate::clock;
use crate::error::Error;

/// The share of one core that looking may take: one part in so many.
const PARTS: u64 = 50;

/// Between two looks for threads that came; their clocks are looked at in each.
const LIST_EVERY: Duration = Duration::from_millis(10);

pub(super) struct Sampler {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    missed: Arc<AtomicU64>,
}

impl Sampler {
    pub(super) fn start(period_ns: u64) -> Result<Self, Error> {
        sigurg::install()?;
        queued::may_send(tasks::own()).map_err(|error| Error::Io("tgkill".into(), error))?;
        clock::thread_cpu_ns(tasks::own())
            .map_err(|error| Error::Io("the CPU clock of a thread".into(), error))?;
        roll::sweep();
        let missed = Arc::new(AtomicU64::new(0));
        let mut watch = Watch {
            period_ns,
            threads: HashMap::new(),
            missed: Arc::clone(&missed),
            random: Random::new(),
            since_ns: clock::since_boot_ns(),
        };
        // Here, so that all CPU time from now on counts.
        watch.list();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("stagelight-ask".into())
            .spawn(move || {
                stagelight::__private::count_own_thread();
                watch.run(&stopped);
            })
            .map_err(|error| Error::Io("no thread to sample from".into(), error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread), missed })
    }
}

impl Trigger for Sampler {
    fn name(&self) -> &'static str {
        "sampler-thread"
    }

    fn limits(&self) -> &'static str {
        "a thread of the profiler's looks at the others' CPU clocks at the rate, or less often where that would take more \
         than a fiftieth of a core; a thread that runs in short bursts may be sampled after one, in its wait, which ends \
         early with EINTR; threads that live shorter than ten milliseconds get no sample"
    }

    fn signal(&self) -> libc::c_int {
        libc::SIGURG
    }

    fn threads_missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// What the thread knows.
struct Watch {
    period_ns: u64,
    threads: HashMap<i32, Watched>,
    missed: Arc<AtomicU64>,
    random: Random,
    /// When the profile began, by `CLOCK_BOOTTIME`.
    since_ns: u64,
}

struct Watched {
    /// The thread's CPU time when it was last asked for a sample.
    asked_at: u64,
    /// None if there was no place.
    entry: Option<&'static Entry>,
}

impl Watch {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut listed = Instant::now();
        let mut pause = Duration::ZERO;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
            // By its own CPU clock: on a busy machine a look may wait long for a core, which costs the process nothing.
            let start_ns = clock::own_cpu_ns();
            if listed.elapsed() >= LIST_EVERY {
                self.list();
                listed = Instant::now();
            }
            self.look();
            // Half the period to one and a half, so as to be out of step with the workload.
            let pause_ns = self.period_ns / 2 + self.random.below(self.period_ns);
            let cost_ns = clock::own_cpu_ns().saturating_sub(start_ns);
            pause = Duration::from_nanos(pause_ns.max(cost_ns * PARTS));
        }
        for &tid in self.threads.keys() {
            roll::leave(tid);
        }
    }

    /// Takes up threads that came and drops those that ended.
    fn list(&mut self) {
        let mut former = std::mem::take(&mut self.threads);
        for tid in tasks::list() {
            let watched = former.remove(&tid).or_else(|| {
                // All that a thread used that started since the profile did is the profile's.
                let new = tasks::started_after(tid, self.since_ns);
                let asked_at = if new { 0 } else { clock::thread_cpu_ns(tid).ok()? };
                let entry = roll::enter(tid, asked_at);
                self.missed.fetch_add(u64::from(entry.is_none()), Ordering::Relaxed);
                Some(Watched { asked_at, entry })
            });
            self.threads.extend(watched.map(|watched| (tid, watched)));
        }
        for (tid, watched) in former {
            if tasks::alive(tid) {
                self.threads.insert(tid, watched);
            } else {
                // Its signal will not arrive.
                watched.entry.inspect(|entry| entry.unask());
                roll::leave(tid);
            }
        }
    }

    /// Asks each thread for a sample that used half a period of CPU time since it was last asked: mostly it used one, and
    /// one that used less is not disturbed until it comes to that.
    fn look(&mut self) {
        for (&tid, watched) in &mut self.threads {
            let (Some(entry), Ok(cpu)) = (watched.entry, clock::thread_cpu_ns(tid)) else { continue };
            if cpu.saturating_sub(watched.asked_at) < self.period_ns / 2 {
                continue;
            }
            if entry.ask() {
                watched.asked_at = cpu;
                if signal(tid).is_err() {
                    entry.unask();
                }
            }
        }
    }
}

/// Asks a thread by a signal that says whose it is, so that the host's own are told from it; where a filter refuses those, by
/// a plain one.
fn signal(tid: i32) -> io::Result<()> {
    match queued::send(tid, Purpose::Ask, 0) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => queued::send_unmarked(tid),
        result => result,
    }
}
