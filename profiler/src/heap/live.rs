//! The live heap at one moment, from the samples of the allocator that is in use.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::SystemTime;

use super::tier::{self, Tier};
use super::{allocator_frames, focus};
use crate::error::Error;
use crate::profile::{Context, Kind, Profile, ProfileStats, Raw};

/// Objects and bytes by stack and context.
pub(super) type Sums = HashMap<(Box<[u64]>, (u32, u32)), [i64; 2]>;

/// Live samples.
#[derive(Default)]
pub(super) struct Found {
    /// What they stand for.
    pub(super) sums: Sums,
    pub(super) samples: u64,
    /// Those whose stack reaches the thread's start.
    pub(super) complete: u64,
    /// Average bytes between samples.
    pub(super) interval: u64,
    /// What is missing, by cause.
    pub(super) dropped: Vec<(&'static str, u64)>,
}

/// The live heap, and when and by whom it was told.
pub(super) struct Live {
    found: Found,
    taken: SystemTime,
    tier: &'static dyn Tier,
}

/// Held by who reads the live heap: allocators tell of it once at a time.
static READING: Mutex<()> = Mutex::new(());

/// Reads the live heap, after all others that do.
pub(super) fn take() -> Result<Live, Error> {
    read(READING.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Reads the live heap unless somebody else does at this moment.
pub(super) fn take_at_once() -> Option<Result<Live, Error>> {
    match READING.try_lock() {
        Ok(alone) => Some(read(alone)),
        Err(TryLockError::Poisoned(poisoned)) => Some(read(poisoned.into_inner())),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// For a test that must have others find the heap being read.
#[cfg(test)]
pub(super) fn reading() -> MutexGuard<'static, ()> {
    READING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(_alone: MutexGuard<'_, ()>) -> Result<Live, Error> {
    let unsupported = |reason| Error::Unsupported(format!("no heap profile: {reason}"));
    let tier = tier::active().map_err(unsupported)?;
    if tier.since().is_none() {
        return Err(unsupported(tier::SWITCHED_OFF.into()));
    }
    focus::learn();
    Ok(Live { found: tier.live()?, taken: SystemTime::now(), tier })
}

/// Whether the heap is sampled, and how or why not.
pub(crate) fn status() -> (bool, String) {
    match tier::active() {
        Ok(tier) => {
            let how = match tier.lacks() {
                Some((what, reason)) => format!(", without {what}: {reason}"),
                None => match focus::focus() {
                    Some((label, value)) => format!(", of {label} {value:?} alone"),
                    None => String::new(),
                },
            };
            (true, tier.name() + &how)
        }
        Err(reason) => (false, reason),
    }
}

impl Live {
    /// All of it.
    pub(super) fn profile(self, lines: bool) -> Profile {
        let stats = self.stats(self.tier.since().unwrap_or(self.taken));
        finish(Kind::Heap, self.found.sums, None, stats, lines)
    }

    /// What it is more than at an earlier moment.
    pub(super) fn growth_since(mut self, before: Live, started: SystemTime, lines: bool) -> Profile {
        for (key, values) in before.found.sums {
            let sum = self.found.sums.entry(key).or_default();
            sum[0] -= values[0];
            sum[1] -= values[1];
        }
        self.found.sums.retain(|_, values| *values != [0, 0]);
        let stats = self.stats(started);
        finish(Kind::HeapGrowth, self.found.sums, None, stats, lines)
    }

    pub(super) fn into_sums(self) -> Sums {
        self.found.sums
    }

    /// The samples it rests on, and bytes by stage and label set.
    pub(super) fn by_context(self) -> (u64, HashMap<(u32, u32), i64>) {
        let mut bytes = HashMap::new();
        for ((_, context), values) in self.found.sums {
            *bytes.entry(context).or_default() += values[1];
        }
        (self.found.samples, bytes)
    }

    fn stats(&self, started: SystemTime) -> ProfileStats {
        ProfileStats {
            rung: self.tier.name(),
            rung_limits: String::new(),
            rungs_refused: refused(self.tier),
            notes: Vec::new(),
            stopped: Default::default(),
            samples: self.found.samples,
            complete_stacks: self.found.complete,
            thinned: 0,
            dropped: self.found.dropped.clone(),
            cpu_time: Default::default(),
            own_threads: Default::default(),
            own_samples: 0,
            own_functions: Default::default(),
            started,
            duration: self.taken.duration_since(started).unwrap_or_default(),
            period: self.found.interval as i64,
        }
    }
}

/// Why there are no better samples.
pub(super) fn refused(tier: &dyn Tier) -> Vec<String> {
    tier.lacks().map(|(_, reason)| reason.to_owned()).into_iter().collect()
}

/// A profile of sums, and of what is held beside them.
pub(super) fn finish(
    kind: Kind,
    sums: Sums,
    held: Option<Sums>,
    stats: ProfileStats,
    lines: bool,
) -> Profile {
    let raw = |sums: Sums| -> Vec<Raw> {
        let raw = |((stack, context), values)| Raw { stack, context: Context::of(context), values };
        sums.into_iter().map(raw).collect()
    };
    let mut profile = Profile::with_held(kind, raw(sums), held.map(raw), stats, lines);
    allocator_frames::trim(&mut profile);
    profile
}
