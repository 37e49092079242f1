//! A stage's static descriptor and the registry that gives it its number and its mode.

use std::any::Any;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::glob;

/// Numbers that the record path can tell apart. A process has hundreds of stages; past the limit calls are
/// counted under one number.
pub const MAX_STAGES: usize = if cfg!(miri) { 32 } else { 1024 };

/// The state of a stage that was not touched yet.
const UNREGISTERED: u32 = 0;

/// The number that all stages past the limit share.
pub(crate) const OTHER: u32 = 1;

/// A state is the stage's number and, above it, its mode.
const MODE_SHIFT: u32 = 29;
const NUMBER_MASK: u32 = (1 << MODE_SHIFT) - 1;

/// What is recorded of a stage's calls. Each mode does all that those after it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A timed call is a span of its query's trace, if the query is followed. So every stage begins. A query in another mode
    /// leaves no trace.
    #[default]
    Span = 0,
    /// They are timed as often as their query is.
    Time = 1,
    /// They are counted and label their thread, and no clock is read for them.
    Count = 2,
    /// Nothing: a load and a branch a call.
    Off = 4,
}

impl Mode {
    /// All modes, from the one that does most.
    pub const ALL: [Mode; 4] = [Mode::Span, Mode::Time, Mode::Count, Mode::Off];

    fn of(state: u32) -> Self {
        match state >> MODE_SHIFT {
            0 => Mode::Span,
            1 => Mode::Time,
            2 => Mode::Count,
            _ => Mode::Off,
        }
    }

    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Span => "span",
            Mode::Time => "time",
            Mode::Count => "count",
            Mode::Off => "off",
        }
    }

    /// The mode of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// What the record path must know to record one call.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) stage: u32,
    pub(crate) timed: bool,
    /// A timed call is a span.
    pub(crate) spans: bool,
}

impl Call {
    #[inline(always)]
    fn of(state: u32) -> Self {
        let mode = state >> MODE_SHIFT;
        Self {
            stage: state & NUMBER_MASK,
            timed: mode <= Mode::Time as u32,
            spans: mode == Mode::Span as u32,
        }
    }
}

/// A named region of code: one static descriptor per call site, made by the macros.
///
/// Call sites with the same component and name are one stage in a snapshot.
#[derive(Debug)]
pub struct Stage {
    pub(crate) name: &'static str,
    pub(crate) component: &'static str,
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    /// All that entering the stage must know, in one load.
    state: AtomicU32,
    /// Where in the code it was entered first; 0 if unknown.
    code: AtomicU64,
}

impl Stage {
    /// A descriptor for a call site. It registers itself at its first call.
    #[must_use]
    pub const fn new(name: &'static str, component: &'static str, file: &'static str, line: u32) -> Self {
        let (state, code) = (AtomicU32::new(UNREGISTERED), AtomicU64::new(0));
        Self { name, component, file, line, state, code }
    }

    /// How to record a call, or `None` if the stage is off.
    #[inline(always)]
    pub(crate) fn call(&'static self) -> Option<Call> {
        let mut state = self.state.load(Ordering::Relaxed);
        // Off is the highest bit: one comparison finds what is neither counted nor timed.
        if (state as i32) <= 0 {
            if state == UNREGISTERED {
                state = register(self);
            }
            if state >> MODE_SHIFT >= Mode::Off as u32 {
                return None;
            }
        }
        Some(Call::of(state))
    }

    /// How to go on with a call that [`call`](Self::call) let begin.
    #[inline(always)]
    pub(crate) fn running(&'static self) -> Call {
        Call::of(self.state.load(Ordering::Relaxed))
    }

    /// What is recorded of the stage at present.
    pub(crate) fn mode(&self) -> Mode {
        Mode::of(self.state.load(Ordering::Relaxed))
    }

    /// First touch: takes a lock and allocates. `code` is where it is entered.
    fn register(&'static self, code: u64) -> u32 {
        let mut registry = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        let known = self.state.load(Ordering::Relaxed);
        if known != UNREGISTERED {
            return known;
        }
        if registry.stages.is_empty() {
            registry.stages.push(&OTHER_STAGE);
        }
        let same = |known: &&Stage| (known.component, known.name) == (self.component, self.name);
        let number = if let Some(index) = registry.stages.iter().position(same) {
            registry.aliases.push(self);
            index as u32 + 1
        } else if registry.stages.len() + 1 < MAX_STAGES {
            registry.stages.push(self);
            registry.stages.len() as u32
        } else {
            registry.overflow.push(self);
            OTHER
        };
        self.code.store(code, Ordering::Relaxed);
        let state = number | (registry.mode_of(self) as u32) << MODE_SHIFT;
        self.state.store(state, Ordering::Relaxed);
        state
    }
}

/// Registers a stage at its first call.
#[cold]
#[inline(never)]
#[cfg(not(all(target_arch = "x86_64", unix, not(miri))))]
fn register(stage: &'static Stage) -> u32 {
    stage.register(0)
}

/// Registers a stage at its first call, which stands in the function that is the stage: the address that this returns to
/// tells which one, and costs that function nothing.
#[cold]
#[unsafe(naked)]
#[cfg(all(target_arch = "x86_64", unix, not(miri)))]
extern "sysv64" fn register(stage: &'static Stage) -> u32 {
    extern "sysv64" fn inner(stage: &'static Stage, code: u64) -> u32 {
        stage.register(code)
    }
    // The address on top of the stack becomes the second argument; the first one stays where it is.
    std::arch::naked_asm!("mov rsi, [rsp]", "jmp {inner}", inner = sym inner)
}

struct Registry {
    /// The stage of number n at index n - 1.
    stages: Vec<&'static Stage>,
    /// The stages that share [`OTHER`].
    overflow: Vec<&'static Stage>,
    /// Call sites that share the number of an earlier one with their component and name.
    aliases: Vec<&'static Stage>,
    /// Patterns and modes, the latest last: it decides. They hold for stages that come later, too.
    rules: Vec<(String, Mode)>,
    off: bool,
}

impl Registry {
    fn mode_of(&self, stage: &Stage) -> Mode {
        if self.off {
            return Mode::Off;
        }
        let rule = self.rules.iter().rev().find(|(pattern, _)| matches(pattern, stage));
        rule.map_or(Mode::default(), |&(_, mode)| mode)
    }

    fn apply(&self) {
        for stage in self.stages.iter().chain(&self.overflow).chain(&self.aliases) {
            let number = stage.state.load(Ordering::Relaxed) & NUMBER_MASK;
            stage.state.store(number | (self.mode_of(stage) as u32) << MODE_SHIFT, Ordering::Relaxed);
        }
    }
}

fn matches(pattern: &str, stage: &Stage) -> bool {
    matches_stage(pattern, stage.component, stage.name)
}

/// Whether a pattern, as [`set_mode`] takes it, matches a stage: its name, or its component and name parted by `::`.
#[must_use]
pub fn matches_stage(pattern: &str, component: &str, name: &str) -> bool {
    glob::matches(pattern, name) || glob::matches(pattern, &format!("{component}::{name}"))
}

/// Switches recording on or off for the whole process; it is on at the start. Calls that are running finish as
/// they began. A stage that is off costs one load and a branch, records nothing and labels nothing.
pub fn set_recording(on: bool) {
    let mut registry = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
    registry.off = !on;
    registry.apply();
}

/// Says what is recorded of the stages whose name, or component and name as `component::name`, a pattern matches: `*` is
/// any text, `?` any character. Holds at once, for stages that come later too, and until a later call says otherwise.
/// Gives the number of stages that it matches at present.
///
/// ```
/// use stagelight::Mode;
/// stagelight::set_mode("storage::*", Mode::Count);
/// ```
pub fn set_mode(pattern: &str, mode: Mode) -> usize {
    let mut registry = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
    // What a later rule repeats has no effect any more.
    registry.rules.retain(|(known, _)| known != pattern && pattern != "*");
    if (pattern, mode) != ("*", Mode::default()) {
        registry.rules.push((pattern.to_owned(), mode));
    }
    registry.apply();
    registry.stages.iter().chain(&registry.overflow).filter(|stage| matches(pattern, stage)).count()
}

static OTHER_STAGE: Stage = Stage::new("other", "stagelight", file!(), line!());

static STAGES: Mutex<Registry> = Mutex::new(Registry {
    stages: Vec::new(),
    overflow: Vec::new(),
    aliases: Vec::new(),
    rules: Vec::new(),
    off: false,
});

/// Takes the lock, for as long as what it gives lives.
pub(crate) fn hold() -> Box<dyn Any> {
    Box::new(STAGES.lock().unwrap_or_else(PoisonError::into_inner))
}

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

/// An address in the function that entered the stage with that number first, or in the one that it was inlined into; 0 if
/// that is not known.
#[must_use]
pub fn stage_code(id: u32) -> u64 {
    let registry = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = (id as usize).checked_sub(1).and_then(|index| registry.stages.get(index));
    stage.map_or(0, |stage| stage.code.load(Ordering::Relaxed))
}
