//! Cutting a profile by its labels, after it was taken.

use std::collections::HashMap;

use stagelight::export::readable;

use super::{LABELS, Labels, Location, Profile, Sample, WITHIN};

/// What stands for the value of a label that a sample has not.
pub(crate) const NONE: &str = "(none)";

impl Sample {
    /// The value of a label; empty if it has none.
    pub(crate) fn label(&self, label: &str) -> &str {
        value(&self.labels, label)
    }
}

impl Profile {
    /// The sums by the value of a label, one of [`LABELS`], largest first; `""` stands for samples without it.
    #[must_use]
    pub fn label_totals(&self, label: &str) -> Vec<(String, i64)> {
        let mut totals: HashMap<&str, i64> = HashMap::new();
        for sample in &self.samples {
            *totals.entry(value(&sample.labels, label)).or_default() += sample.values[1];
        }
        let mut totals: Vec<_> = totals.into_iter().map(|(value, total)| (value.to_owned(), total)).collect();
        totals.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        totals
    }

    /// The same profile with each stack rooted in the value of a label, one of [`LABELS`], so that a flame graph
    /// shows who burns what. Applied twice, the later label is the outer one:
    /// `by_label("stage").by_label("tenant")` shows tenants, their stages, and the stacks in them. A `path` is a root for
    /// each of its stages, and the stack goes on from the function of the innermost one.
    #[must_use]
    pub fn by_label(&self, label: &str) -> Profile {
        let mut profile = self.clone();
        profile.roots.insert(0, label.to_owned());
        let mut roots: HashMap<String, u32> = HashMap::new();
        let mut locations = std::mem::take(&mut profile.locations);
        for sample in profile.all_samples() {
            let value = match value(&sample.labels, label) {
                "" => NONE,
                value => value,
            };
            // A path is a root for each of its stages, so that stages nest as they do in the program.
            let (label, parts, path) = match label {
                "path" => ("stage", value.split(WITHIN).collect(), Some(value)),
                _ => (label, vec![value], None),
            };
            let entry = path.and_then(|path| {
                let locations = &self.locations;
                self.stage_functions.entry(path, &sample.stack, locations)
            });
            if let Some(entry) = entry {
                // What led to the stage is what the path says, and other labels that root the stack stay.
                let roots = sample.stack.iter().position(|&at| locations[at as usize].is_label());
                sample.stack.drain(entry + 1..roots.unwrap_or(sample.stack.len()));
            }
            for part in parts.iter().rev() {
                let next = locations.len() as u32;
                let root = *roots.entry(format!("{label}: {}", readable(part))).or_insert_with_key(|name| {
                    locations.push(Location::label(name));
                    next
                });
                sample.stack.push(root);
            }
        }
        profile.locations = locations;
        profile
    }

    /// Only the samples in which a label, one of [`LABELS`], has just this value; `""` chooses those without it. Applied
    /// twice, both must hold: `filter("tenant", "acme").filter("stage", "exec.scan")`.
    ///
    /// [`stats`](Self::stats) stay those of the whole profile, and the renderers name what was chosen.
    #[must_use]
    pub fn filter(&self, label: &str, wanted: &str) -> Profile {
        let mut profile = self.clone();
        let of_it = |sample: &Sample| value(&sample.labels, label) == wanted;
        profile.samples.retain(of_it);
        profile.held.iter_mut().for_each(|held| held.retain(of_it));
        profile.filters.push((label.to_owned(), wanted.to_owned()));
        profile
    }

    /// Leaves out what is not in focus: of a stage that is what neither the stage nor one that it calls did.
    #[cfg_attr(
        not(all(target_os = "linux", target_arch = "x86_64")),
        allow(dead_code, reason = "there is no sampler")
    )]
    pub(crate) fn in_focus(mut self, only: Vec<(&'static str, String)>) -> Profile {
        let holds = |labels: &Labels, (label, wanted): &(&str, String)| match *label {
            "stage" => value(labels, "path").split(WITHIN).any(|stage| stage == wanted),
            label => value(labels, label) == wanted,
        };
        self.samples.retain(|sample| only.iter().all(|focus| holds(&sample.labels, focus)));
        self.filters.extend(only.into_iter().map(|(label, value)| (label.to_owned(), value)));
        self
    }

    /// What is measured, of which part, and by which labels it is rooted, for people.
    pub(crate) fn title(&self) -> String {
        let mut title = self.kind.title().to_owned();
        for (label, value) in &self.filters {
            let value = stagelight::export::table::shorten(value, 60);
            title +=
                &if value.is_empty() { format!(" without {label}") } else { format!(" of {label} {value}") };
        }
        if !self.roots.is_empty() {
            title += &format!(" by {}", self.roots.join(", "));
        }
        title
    }
}

fn value<'a>(labels: &'a Labels, label: &str) -> &'a str {
    LABELS.iter().position(|known| *known == label).map_or("", |index| &labels[index])
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample_profile;
    use super::*;

    #[test]
    fn totals_by_label_sum_to_the_total() {
        let profile = sample_profile();
        assert_eq!(profile.label_totals("tenant"), [("acme".into(), 4_000_000), (String::new(), 2_000_000)]);
        for label in LABELS.into_iter().chain(["no such label"]) {
            let totals = profile.label_totals(label);
            assert_eq!(totals.iter().map(|(_, total)| total).sum::<i64>(), profile.total());
        }
    }

    #[test]
    fn the_later_label_is_the_outer_root() {
        let profile = sample_profile().by_label("stage").by_label("tenant");
        let root = |sample: &Sample, from_end: usize| {
            let location = sample.stack[sample.stack.len() - from_end];
            profile.locations[location as usize].frames[0].function.clone()
        };
        let first = &profile.samples[0];
        assert_eq!((root(first, 1), root(first, 2)), ("tenant: acme".into(), "stage: step".into()));
        assert_eq!(root(&profile.samples[2], 1), "tenant: (none)");
        assert_eq!(profile.total(), sample_profile().total());
    }

    #[test]
    fn the_parts_by_a_label_make_up_the_whole() {
        let profile = sample_profile();
        for label in LABELS {
            for (value, total) in profile.label_totals(label) {
                assert_eq!(profile.filter(label, &value).total(), total, "{label} {value}");
            }
        }
        assert_eq!(profile.filter("tenant", "acme").filter("stage", "step").total(), 4_000_000);
        assert_eq!(profile.filter("tenant", "acme").filter("stage", "other").total(), 0);
        assert_eq!(
            profile.filter("tenant", "acme").by_label("stage").title(),
            "CPU time of tenant acme by stage"
        );
        assert_eq!(profile.filter("tenant", "").title(), "CPU time without tenant");
    }
}
