//! What profiles and snapshots say of one label, beside the truth.

use stagelight::LabelKind;
use stagelight_profiler::Profile;

/// The total of the samples with a label; 0 if there is none.
#[must_use]
pub fn total(profile: &Profile, label: &str, value: &str) -> u64 {
    let totals = profile.label_totals(label);
    totals.iter().find(|(name, _)| name == value).map_or(0, |(_, total)| *total as u64)
}

/// All that was sampled, with the profiler's own threads, which a profile leaves out and the process's
/// clock has.
#[must_use]
pub fn sampled_ns(profile: &Profile) -> f64 {
    profile.total() as f64 + profile.stats().own_threads.as_nanos() as f64
}

/// The weights of a tenant's samples ÷ what its threads' clocks said.
#[must_use]
pub fn weighed(profile: &Profile, tenant: &str, truth_ns: u64) -> f64 {
    total(profile, "tenant", tenant) as f64 / truth_ns as f64
}

/// To a tenth.
///
/// # Panics
/// If it isn't.
pub fn assert_near(what: &str, measured_ns: u64, truth_ns: u64) {
    let (measured, truth) = (measured_ns as f64 / 1e6, truth_ns as f64 / 1e6);
    eprintln!("{what}: measured {measured:.2} ms, truth {truth:.2} ms");
    assert!((measured / truth - 1.0).abs() < 0.1, "{what}: {measured} of {truth} ms");
}

/// Bytes allocated within a tenant's queries, as each of them was counted; 0 if there was none.
#[must_use]
pub fn allocated(tenant: &str) -> u64 {
    let snapshot = stagelight::snapshot();
    let tenants = snapshot.by_label(LabelKind::Tenant);
    tenants.iter().find(|label| label.value == tenant).map_or(0, |label| label.alloc_bytes)
}
