//! Sampling one stage, statement or tenant alone: of all others' allocations no stack is taken, which is most of what a sample
//! costs. They count all the same, so that sums stay true, in one frame for all of them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use stagelight::LabelKind;

use super::activation;
use crate::armed::Armed;
use crate::error::Error;
use crate::profile::PATH;

/// Numbers of stages that a focus can tell apart.
const STAGES: usize = 1024;

/// Whose stacks are taken.
enum Focus {
    Query(LabelKind, String),
    Stage {
        name: String,
        /// Stages with a number up to this one have been looked at. Of later ones stacks are taken, so that none is missed.
        known: AtomicU32,
        /// A bit for each number.
        wanted: [AtomicU64; STAGES / 64],
    },
}

static FOCUS: Armed<Focus> = Armed::new();

/// Whether there is one: the hook asks this first, for next to nothing.
static FOCUSED: AtomicBool = AtomicBool::new(false);

/// Takes stacks of the allocations of one stage, statement, tenant, user or database alone from now on, or of all again with
/// `None`: `focus_heap(Some(("tenant", "acme")))`. Needs [`heap_profiler!`](crate::heap_profiler).
///
/// An allocation is a stage's if it is made in the stage or in one that it called. All others keep their labels and their
/// bytes, under one frame `[not in focus]`, so that totals by label are true and only their stacks are missing;
/// [`Profile::filter`](crate::Profile::filter) leaves them out. What was sampled before keeps its stack until it is freed.
///
/// # Cost
/// A sampled allocation that is not in focus takes a tenth of a microsecond instead of one or several, which makes a high rate
/// ([`sample_heap`](crate::sample_heap)) bearable where one tenant or stage is in doubt.
///
/// # Errors
/// [`Error::Invalid`] for a label that an allocation does not have, [`Error::Unsupported`] if the allocator does not sample, or
/// takes stacks by an unwinder that knows no labels, with the reason.
pub fn focus_heap(on: Option<(&str, &str)>) -> Result<(), Error> {
    let active = activation::active().map_err(Error::Unsupported)?;
    if let Some(reason) = &active.own_unwinder_refused {
        return Err(Error::Unsupported(format!("a focus takes the unwinder that knows labels: {reason}")));
    }
    let focus = on.map(|(label, value)| Focus::new(label, value)).transpose()?;
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    FOCUSED.store(false, Ordering::Relaxed);
    FOCUS.disarm(|_| ());
    if let Some(focus) = focus {
        FOCUS.arm(Box::new(focus));
        learn();
        FOCUSED.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Looks at the stages that came since the last time.
pub(super) fn learn() {
    FOCUS.with(|focus| {
        let Focus::Stage { name, known, wanted } = focus else { return };
        for number in known.load(Ordering::Relaxed) + 1..STAGES as u32 {
            let (_, stage) = stagelight::__private::stage_by_id(number);
            if stage.is_empty() {
                break;
            }
            if stage == name {
                wanted[number as usize / 64].fetch_or(1 << (number % 64), Ordering::Relaxed);
            }
            known.store(number, Ordering::Relaxed);
        }
    });
}

/// The label and the value that are in focus.
pub(crate) fn focus() -> Option<(&'static str, String)> {
    FOCUS.with(|focus| match focus {
        Focus::Query(kind, value) => (kind.name(), value.clone()),
        Focus::Stage { name, .. } => ("stage", name.clone()),
    })
}

/// Whether the stack of what the calling thread allocates is to be taken. Async-signal-safe.
#[cfg(target_arch = "x86_64")]
pub(super) fn wanted() -> bool {
    if !FOCUSED.load(Ordering::Relaxed) {
        return true;
    }
    FOCUS.with(Focus::is_on_this_thread).unwrap_or(true)
}

impl Focus {
    fn new(label: &str, value: &str) -> Result<Self, Error> {
        if label == "stage" {
            let wanted = [const { AtomicU64::new(0) }; STAGES / 64];
            return Ok(Focus::Stage { name: value.to_owned(), known: AtomicU32::new(0), wanted });
        }
        let kind = LabelKind::ALL.into_iter().find(|kind| kind.name() == label);
        let kind = kind.ok_or_else(|| {
            Error::Invalid(format!(
                "a focus on {label:?}: it must be stage, statement, tenant, user or database"
            ))
        })?;
        Ok(Focus::Query(kind, value.to_owned()))
    }

    #[cfg(target_arch = "x86_64")]
    fn is_on_this_thread(&self) -> bool {
        let mut path = [0; PATH];
        let sampled = stagelight::__private::sampled(&mut path);
        match self {
            Focus::Query(kind, value) => stagelight::__private::label_set(sampled.labels).get(*kind) == value,
            Focus::Stage { known, wanted, .. } => {
                let known = known.load(Ordering::Relaxed);
                path[..sampled.depth.min(PATH)].iter().any(|&number| {
                    let bits = wanted.get(usize::from(number) / 64);
                    let bit = |bits: &AtomicU64| bits.load(Ordering::Relaxed) >> (number % 64) & 1 == 1;
                    u32::from(number) > known || bits.is_none_or(bit)
                })
            }
        }
    }
}
