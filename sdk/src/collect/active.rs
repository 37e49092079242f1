//! What runs at this instant: every block says at any time what its thread is in, so a look costs
//! some loads a thread, and what the kernel is asked for its state.

use std::time::Duration;

use super::thread_state::{self, ThreadState};
use crate::record::labels::{LabelKind, label_set};
use crate::record::registry;
use crate::record::stage::stage_by_id;

/// A thread that is in a stage at some instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Its id.
    pub thread: u32,
    /// The stages that it is in, outermost first.
    pub path: Vec<&'static str>,
    /// The statement, tenant, user and database of its query, in the order of [`LabelKind::ALL`]; empty where unsaid.
    pub labels: [&'static str; LabelKind::ALL.len()],
    /// What it does.
    pub state: ThreadState,
    /// For how long its query has run; `None` if it is in no query or that is not timed.
    pub running: Option<Duration>,
}

/// The threads that are in a stage at this instant. Reads a file a thread, for its state: 5 µs.
#[must_use]
pub fn active() -> Vec<Active> {
    let look = registry::blocks().into_iter().filter_map(|block| {
        let (thread, path, set, running_ns) = block.activity()?;
        let path = path.into_iter().map(|stage| stage_by_id(stage).1).collect();
        let labels = LabelKind::ALL.map(|kind| label_set(set).get(kind));
        let running = running_ns.map(Duration::from_nanos);
        Some(Active { thread, path, labels, state: thread_state::now(thread), running })
    });
    look.collect()
}
