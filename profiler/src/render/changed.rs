//! What grew and what shrank, of profiles whose values lie on both sides of zero.

use std::collections::HashMap;

use crate::profile::{Kind, Profile};

/// Sums over the stacks of a profile. What grew under one label and shrank under another counts
/// once, by what is left of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) more: i64,
    /// Above zero too.
    pub(super) less: i64,
}

impl Changed {
    /// What shares of changes are of. Their sum won't do: it is near zero where much grew and as
    /// much shrank.
    pub(super) fn all(self) -> i64 {
        self.more.saturating_add(self.less)
    }
}

impl Kind {
    pub(super) fn is_change(self) -> bool {
        match self {
            Kind::CpuChange
            | Kind::OffCpuChange
            | Kind::WallChange
            | Kind::BlockChange
            | Kind::MutexChange
            | Kind::HeapGrowth
            | Kind::AllocationsChange => true,
            Kind::Cpu
            | Kind::OffCpu
            | Kind::Wall
            | Kind::Block
            | Kind::Mutex
            | Kind::Heap
            | Kind::Allocations => false,
        }
    }
}

impl Profile {
    /// What all stacks came to, those above zero and those below. Of a profile that is no change,
    /// the total is all that there is more.
    pub(super) fn changed(&self) -> Changed {
        let mut stacks: HashMap<&[u32], i64> = HashMap::new();
        for sample in &self.samples {
            let sum = stacks.entry(&sample.stack).or_default();
            *sum = sum.saturating_add(sample.values[1]);
        }
        stacks.into_values().fold(Changed::default(), |Changed { more, less }, value| Changed {
            more: more.saturating_add(value.max(0)),
            less: less.saturating_sub(value.min(0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::{changed_profile, sample_profile};

    #[test]
    fn what_only_changed_its_labels_did_not_change() {
        assert_eq!(sample_profile().changed(), Changed { more: 6_000_000, less: 0 });
        let changes = changed_profile().diff(&sample_profile()).unwrap().changes();
        let changed = changes.changed();
        assert_eq!(changed.more - changed.less, changes.total());
        let mut other = sample_profile();
        for sample in &mut other.samples {
            std::sync::Arc::make_mut(&mut sample.labels)[7] = "another thread".into();
        }
        let changes = other.diff(&sample_profile()).unwrap().changes();
        assert!(!changes.is_empty() && changes.changed() == Changed::default());
    }
}
