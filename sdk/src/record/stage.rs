//! A stage's static descriptor and the registry that gives it its number.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Numbers that the record path can tell apart. A process has hundreds of stages; past the limit calls are
/// counted under [`OTHER`].
pub(crate) const MAX_STAGES: usize = 1024;

/// The state of a stage that was not touched yet.
const UNREGISTERED: u32 = 0;

/// Set in the state of a stage that is switched off.
const OFF: u32 = 1 << 31;

/// The number that all stages past the limit share.
pub(crate) const OTHER: u32 = 1;

/// A named region of code: one static descriptor per call site, made by the macros.
///
/// Call sites with the same component and name are one stage in a snapshot.
#[derive(Debug)]
pub struct Stage {
    pub(crate) name: &'static str,
    pub(crate) component: &'static str,
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    /// The stage's number, and whether it is off: all that entering it must know, in one load.
    state: AtomicU32,
}

impl Stage {
    /// A descriptor for a call site. It registers itself at its first call.
    #[must_use]
    pub const fn new(name: &'static str, component: &'static str, file: &'static str, line: u32) -> Self {
        Self { name, component, file, line, state: AtomicU32::new(UNREGISTERED) }
    }

    /// This stage's number, at least 1, or `None` if it is off.
    #[inline(always)]
    pub(crate) fn id(&'static self) -> Option<u32> {
        let state = match self.state.load(Ordering::Relaxed) {
            UNREGISTERED => self.register(),
            state => state,
        };
        (state & OFF == 0).then_some(state)
    }

    /// First touch: takes a lock and allocates.
    #[cold]
    #[inline(never)]
    fn register(&'static self) -> u32 {
        let mut registry = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        let known = self.state.load(Ordering::Relaxed);
        if known != UNREGISTERED {
            return known;
        }
        let Registry { stages, overflow, off } = &mut *registry;
        if stages.is_empty() {
            stages.push(&OTHER_STAGE);
        }
        let id = if stages.len() + 1 < MAX_STAGES {
            stages.push(self);
            stages.len() as u32
        } else {
            overflow.push(self);
            OTHER
        };
        let state = if *off { id | OFF } else { id };
        self.state.store(state, Ordering::Relaxed);
        state
    }
}

struct Registry {
    /// The stage of number n at index n - 1.
    stages: Vec<&'static Stage>,
    /// The stages that share [`OTHER`].
    overflow: Vec<&'static Stage>,
    off: bool,
}

/// Switches recording on or off for the whole process; it is on at the start. Calls that are running finish as
/// they began. A stage that is off costs one load and a branch, records nothing and labels nothing.
pub fn set_recording(on: bool) {
    let mut registry = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
    registry.off = !on;
    for stage in registry.stages.iter().chain(&registry.overflow) {
        let id = stage.state.load(Ordering::Relaxed) & !OFF;
        stage.state.store(if on { id } else { id | OFF }, Ordering::Relaxed);
    }
}

static OTHER_STAGE: Stage = Stage::new("other", "stagelight", file!(), line!());

static STAGES: Mutex<Registry> =
    Mutex::new(Registry { stages: Vec::new(), overflow: Vec::new(), off: false });

/// All stages that were touched so far; the one with number n at index n - 1.
pub(crate) fn registered() -> Vec<&'static Stage> {
    STAGES.lock().unwrap_or_else(PoisonError::into_inner).stages.clone()
}

/// Component and name of the stage with that number; empty for a number that was never given.
#[must_use]
pub fn stage_by_id(id: u32) -> (&'static str, &'static str) {
    let registry = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = (id as usize).checked_sub(1).and_then(|index| registry.stages.get(index));
    stage.map_or(("", ""), |stage| (stage.component, stage.name))
}
