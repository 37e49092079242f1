//! One stage, statement, tenant, user or database, as those who take samples recognize it on the thread that they sample.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use stagelight::__private::MAX_STAGES;
use stagelight::LabelKind;

use crate::error::Error;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
use crate::profile::PATH;

/// What the thread shall be in.
#[derive(Debug)]
pub(crate) enum Focus {
    Query(LabelKind, String),
    Stage {
        name: String,
        /// Stages with a number up to this one have been looked at. Later ones are taken for it, so that none is missed.
        known: AtomicU32,
        /// A bit for each number.
        wanted: [AtomicU64; MAX_STAGES.div_ceil(64)],
    },
}

impl Focus {
    pub(crate) fn new(label: &str, value: &str) -> Result<Self, Error> {
        if label == "stage" {
            let wanted = [const { AtomicU64::new(0) }; MAX_STAGES.div_ceil(64)];
            let focus = Focus::Stage { name: value.to_owned(), known: AtomicU32::new(0), wanted };
            focus.learn();
            return Ok(focus);
        }
        let kind = LabelKind::ALL.into_iter().find(|kind| kind.name() == label);
        let kind = kind.ok_or_else(|| {
            Error::Invalid(format!(
                "a focus on {label:?}: it must be stage, statement, tenant, user or database"
            ))
        })?;
        Ok(Focus::Query(kind, value.to_owned()))
    }

    /// Looks at the stages that came since the last time.
    pub(crate) fn learn(&self) {
        let Focus::Stage { name, known, wanted } = self else { return };
        for number in known.load(Ordering::Relaxed) + 1..MAX_STAGES as u32 {
            let (_, stage) = stagelight::__private::stage_by_id(number);
            if stage.is_empty() {
                break;
            }
            if stage == name {
                wanted[number as usize / 64].fetch_or(1 << (number % 64), Ordering::Relaxed);
            }
            known.store(number, Ordering::Relaxed);
        }
    }

    /// Its label and the value.
    pub(crate) fn what(&self) -> (&'static str, &str) {
        match self {
            Focus::Query(kind, value) => (kind.name(), value),
            Focus::Stage { name, .. } => ("stage", name),
        }
    }

    /// Whether a thread in these stages, outermost first, and with this label set is in it. A stage is one that it calls too.
    /// Async-signal-safe.
    pub(crate) fn holds(&self, path: &[u16], labels: u32) -> bool {
        match self {
            Focus::Query(kind, value) => stagelight::__private::label_set(labels).get(*kind) == value,
            Focus::Stage { known, wanted, .. } => {
                let known = known.load(Ordering::Relaxed);
                path.iter().any(|&number| {
                    let bits = wanted.get(usize::from(number) / 64);
                    let bit = |bits: &AtomicU64| bits.load(Ordering::Relaxed) >> (number % 64) & 1 == 1;
                    u32::from(number) > known || bits.is_none_or(bit)
                })
            }
        }
    }

    /// Whether the calling thread is in it. Async-signal-safe.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub(crate) fn is_on_this_thread(&self) -> bool {
        let mut path = [0; PATH];
        let sampled = stagelight::__private::sampled(&mut path);
        self.holds(&path[..sampled.depth.min(PATH)], sampled.labels)
    }
}
