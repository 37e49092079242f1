//! Comparing profiles.

use std::time::Duration;

use super::{Kind, Profile};
use crate::error::Error;
use crate::symbolize::Frame;

impl Profile {
    /// What this profile is more, and less, than an earlier one.
    ///
    /// ```no_run
    /// let before = stagelight_profiler::cpu().run()?;
    /// // Deploy, change a setting, add an index, then:
    /// let after = stagelight_profiler::cpu().run()?;
    /// let diff = after.diff(&before)?;
    /// diff.by_label("stage").write_flamegraph(std::fs::File::create("diff.svg")?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// The two may be parts that were chosen differently, such as one tenant and another. If only one
    /// was taken with lines, functions are compared without.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they measure different things or are rooted in different labels.
    pub fn diff(&self, base: &Profile) -> Result<Diff, Error> {
        if self.kind == base.kind && self.roots == base.roots {
            let (mut base, mut new) = (base.clone(), self.clone());
            // What only one of them knows would look like a change.
            if base.has_lines() != new.has_lines() {
                base.forget_lines();
                new.forget_lines();
            }
            return Ok(Diff { base, new });
        }
        Err(base.refuse(self))
    }
}

impl Profile {
    fn has_lines(&self) -> bool {
        self.locations.iter().flat_map(|location| &location.frames).any(|frame| frame.line > 0)
    }

    /// As if it had been taken without lines: the functions that code lies in, and none that were
    /// inlined into them.
    fn forget_lines(&mut self) {
        for location in &mut self.locations {
            location.frames.drain(..location.frames.len().saturating_sub(1));
            location.frames.iter_mut().for_each(Frame::forget_line);
        }
    }
}

/// Two profiles to compare, made by [`Profile::diff`].
#[derive(Clone, Debug)]
pub struct Diff {
    pub(crate) base: Profile,
    pub(crate) new: Profile,
}

impl Diff {
    /// The change of the sum over all samples: nanoseconds of what the profiles measure, or bytes.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.new.total() - self.base.total()
    }

    /// The changes by the value of a label, one of [`LABELS`](crate::LABELS), from what grew most to what shrank most;
    /// `""` stands for samples without it.
    #[must_use]
    pub fn label_totals(&self, label: &str) -> Vec<(String, i64)> {
        self.changes().label_totals(label)
    }

    /// Both profiles with their stacks rooted in the value of a label, as [`Profile::by_label`] does.
    #[must_use]
    pub fn by_label(&self, label: &str) -> Diff {
        self.map(|profile| profile.by_label(label))
    }

    /// Both profiles with only the samples in which a label has this value, as [`Profile::filter`] does.
    #[must_use]
    pub fn filter(&self, label: &str, value: &str) -> Diff {
        self.map(|profile| profile.filter(label, value))
    }

    /// The base as if it had taken as long as the other profile, so that ten seconds compare with a minute. A live heap
    /// took no time: it stays as it is.
    #[must_use]
    pub fn for_equal_time(mut self) -> Diff {
        let (base, new) = (self.base.stats.duration, self.new.stats.duration);
        if self.base.kind != Kind::Heap && !base.is_zero() {
            let factor = new.as_secs_f64() / base.as_secs_f64();
            let scale = |value: &mut i64| *value = (*value as f64 * factor).round() as i64;
            self.base.samples.iter_mut().flat_map(|sample| &mut sample.values).for_each(scale);
            self.base.stats.cpu_time =
                Duration::try_from_secs_f64(self.base.stats.cpu_time.as_secs_f64() * factor)
                    .unwrap_or_default();
        }
        self
    }

    /// The changes as a profile whose values lie below zero where there is less, for the renderers that show such: pprof
    /// and tables. Its stats are those of both together.
    #[must_use]
    pub fn changes(&self) -> Profile {
        let mut changes = self.new.plus(&self.base, -1);
        changes.samples.retain(|sample| sample.values != [0, 0]);
        changes.held = None;
        changes.kind = match self.new.kind {
            Kind::Cpu | Kind::CpuChange => Kind::CpuChange,
            Kind::OffCpu | Kind::OffCpuChange => Kind::OffCpuChange,
            Kind::Wall | Kind::WallChange => Kind::WallChange,
            Kind::Block | Kind::BlockChange => Kind::BlockChange,
            Kind::Mutex | Kind::MutexChange => Kind::MutexChange,
            Kind::Heap | Kind::HeapGrowth => Kind::HeapGrowth,
            Kind::Allocations | Kind::AllocationsChange => Kind::AllocationsChange,
        };
        changes
    }

    fn map(&self, cut: impl Fn(&Profile) -> Profile) -> Diff {
        Diff { base: cut(&self.base), new: cut(&self.new) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{changed_profile, sample_profile};

    #[test]
    fn changes_are_signed_and_sum_to_the_difference() {
        let diff = changed_profile().diff(&sample_profile()).unwrap();
        assert_eq!(diff.total(), 2_000_000);
        assert_eq!(diff.label_totals("tenant"), [("acme".into(), 4_000_000), (String::new(), -2_000_000)]);
        assert_eq!(diff.filter("tenant", "acme").total(), 4_000_000);
        let changes = diff.by_label("tenant").changes();
        assert_eq!(changes.total(), diff.total());
        assert_eq!(changes.title(), "Change of CPU time by tenant");
        assert!(changes.samples.iter().any(|sample| sample.values[1] < 0));
        let tenants = sample_profile();
        let tenants = tenants.filter("tenant", "acme").diff(&tenants.filter("tenant", "")).unwrap();
        assert_eq!((tenants.total(), tenants.changes().title()), (2_000_000, "Change of CPU time".into()));
        let none = sample_profile().diff(&sample_profile()).unwrap();
        assert!(none.changes().samples.is_empty() && none.total() == 0);
    }

    #[test]
    fn a_profile_with_lines_compares_with_one_without() {
        let with = sample_profile();
        let mut without = sample_profile();
        without.forget_lines();
        assert!(with.has_lines() && !without.has_lines());
        for (new, base) in [(&with, &without), (&without, &with)] {
            let diff = new.diff(base).unwrap();
            assert!(diff.changes().samples.is_empty(), "the code is the same");
        }
        assert!(with.diff(&changed_profile()).unwrap().new.has_lines());
    }

    #[test]
    fn a_longer_profile_compares_by_its_time() {
        // Two seconds beside one.
        let diff = changed_profile().diff(&sample_profile()).unwrap().for_equal_time();
        assert_eq!(diff.total(), 8_000_000 - 12_000_000);
    }
}
