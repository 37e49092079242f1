//! Whose turn it is: one profile, of the CPU, of waits, by the wall clock or of counters, runs at a time. The one that runs
//! continuously steps aside for those that are asked for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::running::Running;

/// Who samples at present.
struct Sampling {
    running: Running,
    /// Asks it to end its turn, if it does that.
    step_aside: Option<Box<dyn Fn() + Send>>,
}

#[derive(Default)]
struct Turns {
    running: Option<Sampling>,
    /// Those for whom someone steps aside.
    waiting: usize,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns { running: None, waiting: 0 });
static ENDED: Condvar = Condvar::new();

/// How long it may take to step aside: to take the last samples and to close each thread's trigger.
const PATIENCE: Duration = Duration::from_secs(5);

fn turns() -> MutexGuard<'static, Turns> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who takes a profile at this moment and until when, in a sentence.
#[cfg(feature = "control")]
pub(crate) fn running() -> Option<String> {
    turns().running.as_ref().map(|sampling| sampling.running.sentence())
}

/// The right to take the one profile that runs at a time.
pub(super) struct Turn(());

impl Turn {
    /// For a profile that was asked for.
    pub(super) fn take(what: &'static str, owner: String, duration: Option<Duration>) -> Result<Self, Error> {
        let mut turns = turns();
        if let Some(step_aside) = turns.running.as_ref().and_then(|sampling| sampling.step_aside.as_ref()) {
            step_aside();
            turns.waiting += 1;
            let free = ENDED.wait_timeout_while(turns, PATIENCE, |turns| turns.running.is_some());
            turns = free.unwrap_or_else(PoisonError::into_inner).0;
            turns.waiting -= 1;
        }
        if let Some(sampling) = &turns.running {
            return Err(sampling.running.busy());
        }
        turns.running = Some(Sampling { running: Running::new(what, owner, duration), step_aside: None });
        Ok(Self(()))
    }

    /// For the continuous profile: `None` if another one runs or is about to.
    pub(super) fn take_aside(
        what: &'static str,
        owner: &str,
        step_aside: impl Fn() + Send + 'static,
    ) -> Option<Self> {
        let mut turns = turns();
        if turns.running.is_some() || turns.waiting > 0 {
            return None;
        }
        let running = Running::new(what, owner.into(), None);
        turns.running = Some(Sampling { running, step_aside: Some(Box::new(step_aside)) });
        Some(Self(()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        turns().running = None;
        ENDED.notify_all();
    }
}
