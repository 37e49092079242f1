//! Adding profiles up.

use std::collections::HashMap;

use super::{Labels, Location, Profile, ProfileStats, Sample};
use crate::error::Error;

impl Profile {
    /// This profile and another as one, values added up: several short profiles as a long one.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they measure different things or are cut differently.
    pub fn merge(&self, other: &Profile) -> Result<Profile, Error> {
        if self.kind == other.kind && self.roots == other.roots && self.filters == other.filters {
            return Ok(self.plus(other, 1));
        }
        Err(self.refuse(other))
    }

    /// Why the two don't go together.
    pub(super) fn refuse(&self, other: &Profile) -> Error {
        Error::Invalid(format!(
            "{} and {} don't go together: both must measure the same and be cut alike",
            self.title(),
            other.title()
        ))
    }

    /// This and another's values times a factor.
    pub(super) fn plus(&self, other: &Profile, factor: i64) -> Profile {
        let mut locations = Locations::default();
        let [these, others] = [self, other].map(|profile| locations.indices(profile));
        let sum = |ours: &[Sample], theirs: &[Sample]| {
            let mut sum = Sum::default();
            sum.add(ours, &these, 1);
            sum.add(theirs, &others, factor);
            sum.samples
        };
        let samples = sum(&self.samples, &other.samples);
        let held = self.held.as_ref().zip(other.held.as_ref()).map(|(ours, theirs)| sum(ours, theirs));
        Profile {
            kind: self.kind,
            locations: locations.list,
            samples,
            held,
            stats: self.stats.plus(&other.stats),
            roots: self.roots.clone(),
            filters: self.filters.iter().filter(|filter| other.filters.contains(filter)).cloned().collect(),
            stage_functions: self.stage_functions.plus(&other.stage_functions),
            // The later one's say what the earlier one's do.
            warnings: if other.warnings.is_empty() { &self.warnings } else { &other.warnings }.clone(),
            unnamed: self.unnamed_of_both(other),
        }
    }
}

impl Profile {
    fn unnamed_of_both(&self, other: &Profile) -> Vec<String> {
        let mut both = self.unnamed.clone();
        both.extend(other.unnamed.iter().filter(|note| !self.unnamed.contains(note)).cloned());
        both
    }
}

/// A list in which each item stands once, and where.
#[derive(Default)]
struct Locations {
    list: Vec<Location>,
    index: HashMap<Location, u32>,
}

impl Locations {
    fn index(&mut self, location: &Location) -> u32 {
        if let Some(&index) = self.index.get(location) {
            return index;
        }
        let next = self.list.len() as u32;
        self.list.push(location.clone());
        self.index.insert(location.clone(), next);
        next
    }

    /// Where each of a profile's own stands here.
    fn indices(&mut self, profile: &Profile) -> Vec<u32> {
        profile.locations.iter().map(|location| self.index(location)).collect()
    }
}

/// Samples of several profiles, those with the same stack and labels as one.
#[derive(Default)]
struct Sum {
    samples: Vec<Sample>,
    index: HashMap<(Vec<u32>, Labels), usize>,
}

impl Sum {
    fn add(&mut self, samples: &[Sample], new: &[u32], factor: i64) {
        for Sample { stack, labels, values } in samples {
            let stack: Vec<u32> = stack.iter().map(|&location| new[location as usize]).collect();
            let samples = &mut self.samples;
            let place = *self.index.entry((stack, labels.clone())).or_insert_with_key(|(stack, labels)| {
                samples.push(Sample { stack: stack.clone(), labels: labels.clone(), values: [0, 0] });
                samples.len() - 1
            });
            for (sum, value) in samples[place].values.iter_mut().zip(values) {
                *sum = sum.saturating_add(value.saturating_mul(factor));
            }
        }
    }
}

impl ProfileStats {
    pub(super) fn plus(&self, other: &ProfileStats) -> ProfileStats {
        let mut stats = self.clone();
        if stats.rung != other.rung {
            stats.rung = format!("{} and {}", self.rung, other.rung);
        }
        stats.rungs_refused.extend(other.rungs_refused.iter().cloned());
        stats.rungs_refused.sort();
        stats.rungs_refused.dedup();
        let new = other.notes.iter().filter(|note| !self.notes.contains(note));
        stats.notes.extend(new.cloned());
        stats.stopped += other.stopped;
        for &(cause, count) in &other.dropped {
            match stats.dropped.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, sum)) => *sum += count,
                None => stats.dropped.push((cause, count)),
            }
        }
        // As many as there are samples of it, each period counts.
        let weighed = |stats: &ProfileStats| i128::from(stats.period) * i128::from(stats.samples);
        let samples = i128::from(self.samples) + i128::from(other.samples);
        if samples > 0 {
            stats.period = i64::try_from((weighed(self) + weighed(other)) / samples).unwrap_or(self.period);
        }
        stats.samples += other.samples;
        stats.complete_stacks += other.complete_stacks;
        stats.thinned += other.thinned;
        stats.cpu_time += other.cpu_time;
        stats.own_threads += other.own_threads;
        stats.own_samples += other.own_samples;
        stats.own_functions += other.own_functions;
        stats.started = self.started.min(other.started);
        stats.duration += other.duration;
        stats
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Kind;
    use super::super::tests::{changed_profile, sample_profile};
    use super::*;

    #[test]
    fn values_add_up_stack_by_stack_and_label_by_label() {
        let (one, other) = (sample_profile(), changed_profile());
        let both = one.merge(&other).unwrap();
        assert_eq!(both.total(), one.total() + other.total());
        for label in super::super::LABELS {
            for (value, total) in both.label_totals(label) {
                assert_eq!(total, one.filter(label, &value).total() + other.filter(label, &value).total());
            }
        }
        assert_eq!((both.samples.len(), both.locations.len()), (4, 5), "what is alike stands once");
        let stats = both.stats();
        assert_eq!((stats.samples, stats.duration), (14, Duration::from_secs(3)));
        assert_eq!(stats.dropped, [("ring_full", 2), ("stack_cap", 0)]);
        assert_eq!(stats.period, 1_000_000);
    }

    #[test]
    fn what_is_not_alike_is_refused_by_name() {
        let one = sample_profile();
        let error = one.merge(&one.by_label("tenant")).unwrap_err().to_string();
        assert!(error.contains("CPU time and CPU time by tenant"), "{error}");
        let heap = Profile { kind: Kind::Heap, ..sample_profile() };
        assert!(one.merge(&heap).unwrap_err().to_string().contains("Live heap"));
        assert!(one.diff(&heap).is_err());
    }
}
