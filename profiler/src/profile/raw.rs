//! What a profiler took, before its addresses have names: addresses, numbers and sums.

use std::collections::HashMap;

use super::{Context, Kind, Profile, ProfileStats};

/// A sum of samples as a profiler takes them: addresses and numbers.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    /// Innermost first.
    pub(crate) stack: Box<[u64]>,
    pub(crate) context: Context,
    pub(crate) values: [i64; 2],
}

/// A profile without names.
#[derive(Clone, Debug)]
pub(crate) struct RawProfile {
    pub(crate) raw: Vec<Raw>,
    pub(crate) stats: ProfileStats,
}

impl RawProfile {
    /// Gives the addresses names. Slow, as [`Profile::new`].
    pub(crate) fn named(self, kind: Kind, lines: bool) -> Profile {
        Profile::new(kind, self.raw, self.stats, lines)
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let stacks: usize = self.raw.iter().map(|raw| size_of_val(&*raw.stack)).sum();
        size_of::<Self>() + self.raw.len() * size_of::<Raw>() + stacks
    }

    /// All parts as one; `None` of none.
    pub(crate) fn sum<'a>(parts: impl Iterator<Item = &'a RawProfile>) -> Option<RawProfile> {
        let mut sums: HashMap<(&'a [u64], Context), [i64; 2]> = HashMap::new();
        let mut stats: Option<ProfileStats> = None;
        for part in parts {
            for raw in &part.raw {
                let sum = sums.entry((&raw.stack, raw.context)).or_default();
                sum[0] += raw.values[0];
                sum[1] += raw.values[1];
            }
            stats = Some(stats.map_or_else(|| part.stats.clone(), |stats| stats.plus(&part.stats)));
        }
        let raw =
            sums.into_iter().map(|((stack, context), values)| Raw { stack: stack.into(), context, values });
        Some(RawProfile { raw: raw.collect(), stats: stats? })
    }
}
