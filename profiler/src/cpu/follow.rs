//! Giving each thread a trigger of its own, on the rungs whose triggers new threads don't inherit.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::tasks;
use crate::clock;

/// What a rung arms threads with.
pub(super) trait PerThread: Send {
    /// Arms a thread; `new` if it started after the profile. `ESRCH` or `EINVAL` if it ended.
    fn add(&mut self, tid: i32, new: bool) -> io::Result<()>;

    /// Takes the trigger of a thread, which mostly ended, away.
    fn remove(&mut self, tid: i32);
}

struct Followed {
    triggers: Box<dyn PerThread>,
    /// Whether they started after the profile.
    armed: HashMap<i32, bool>,
    /// Threads that got none, and how many there were so far.
    without: HashSet<i32>,
    missed: u64,
    /// Threads that may be armed at a time.
    budget: usize,
    /// When the profile began, by `CLOCK_BOOTTIME`.
    since_ns: u64,
}

/// Those of the running profile. A static, because each thread has itself armed at its first stage.
static FOLLOWED: Mutex<Option<Followed>> = Mutex::new(None);

/// The process whose threads they are.
static PROCESS: AtomicU32 = AtomicU32::new(0);

fn with<R>(look: impl FnOnce(&mut Option<Followed>) -> R) -> R {
    look(&mut FOLLOWED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Arms all threads, at most `budget` at a time, or none.
pub(super) fn start(triggers: Box<dyn PerThread>, budget: usize) -> io::Result<()> {
    let mut followed = Followed {
        triggers,
        armed: HashMap::new(),
        without: HashSet::new(),
        missed: 0,
        budget,
        since_ns: clock::since_boot_ns(),
    };
    for tid in tasks::list() {
        if let Err(error) = followed.arm(tid, false) {
            followed.disarm_all();
            return Err(error);
        }
    }
    // Where the calls exist and know no thread but by error, as in some sandboxes.
    if followed.armed.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    with(|place| *place = Some(followed));
    PROCESS.store(std::process::id(), Ordering::Relaxed);
    stagelight::__private::set_thread_observer(on_first_stage);
    // Those that started meanwhile.
    tend();
    Ok(())
}

/// Arms threads that came, and takes the triggers of those that ended away.
pub(super) fn tend() {
    with(|followed| {
        if let Some(followed) = followed {
            // Under the lock, so that a thread that arms itself meanwhile is not taken for one that ended.
            followed.tend(&tasks::list().into_iter().collect());
        }
    });
}

/// Threads that got no trigger.
pub(super) fn missed() -> u64 {
    with(|followed| followed.as_ref().map_or(0, |followed| followed.missed))
}

/// Takes all triggers away.
pub(super) fn stop() {
    if let Some(mut followed) = with(Option::take) {
        followed.disarm_all();
    }
}

/// So that a thread that lives shorter than the time between two looks is sampled too.
fn on_first_stage(tid: u32) {
    // In a forked child nobody would disarm it again, and the lock may have been somebody's who is not there.
    if PROCESS.load(Ordering::Relaxed) != std::process::id() {
        return;
    }
    with(|followed| {
        if let Some(followed) = followed {
            let tid = tid as i32;
            // The id of a thread that ended may be given again before anyone looked, so it is armed anew in any case. One
            // that was armed before its first stage loses what it has used of its period.
            let new = followed.armed.remove(&tid).inspect(|_| followed.triggers.remove(tid));
            followed.arm_or_note(tid, new);
        }
    });
}

impl Followed {
    fn tend(&mut self, present: &HashSet<i32>) {
        let Self { triggers, armed, without, .. } = self;
        armed.retain(|&tid, _| {
            let alive = present.contains(&tid) || tasks::alive(tid);
            if !alive {
                triggers.remove(tid);
            }
            alive
        });
        without.retain(|tid| present.contains(tid));
        for &tid in present {
            if !self.armed.contains_key(&tid) && !self.without.contains(&tid) {
                self.arm_or_note(tid, None);
            }
        }
    }

    /// Whether it is new is looked up if it is not known.
    fn arm_or_note(&mut self, tid: i32, new: Option<bool>) {
        let new = new.unwrap_or_else(|| tasks::started_after(tid, self.since_ns));
        if self.arm(tid, new).is_err() && self.without.insert(tid) {
            self.missed += 1;
        }
    }

    /// Arms a thread unless it ended.
    fn arm(&mut self, tid: i32, new: bool) -> io::Result<()> {
        if self.armed.len() >= self.budget {
            return Err(io::Error::other("more threads than half of what the process has left of its limit"));
        }
        match self.triggers.add(tid, new) {
            Ok(()) => {
                self.armed.insert(tid, new);
                Ok(())
            }
            // The thread ended between the look and the call.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn disarm_all(&mut self) {
        for (tid, _) in std::mem::take(&mut self.armed) {
            self.triggers.remove(tid);
        }
    }
}
