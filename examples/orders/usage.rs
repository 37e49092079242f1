//! Who used what: the exact counts of the snapshot beside the sampled figures of the profiles.

use std::cmp::Reverse;
use std::collections::HashMap;

use stagelight::{LabelStats, Snapshot};
use stagelight_profiler::Profile;

use crate::profiles::Profiles;

/// All that the reports tell of the service.
pub struct Usage {
    pub snapshot: Snapshot,
    pub statements: Vec<Share>,
    pub tenants: Vec<Share>,
}

/// The part of one statement or tenant.
pub struct Share {
    pub name: String,
    /// From samples; `None` without a CPU profile.
    pub cpu_ns: Option<i64>,
    pub calls: u64,
    pub errors: u64,
    pub alloc_bytes: u64,
    /// Bytes on the heap at the time of the heap profile, from samples.
    pub live_bytes: Option<i64>,
}

impl Usage {
    pub fn of(snapshot: Snapshot, profiles: &Profiles) -> Self {
        Self {
            statements: shares(&snapshot.statements, "statement", profiles),
            tenants: shares(&snapshot.tenants, "tenant", profiles),
            snapshot,
        }
    }
}

/// The largest first: by CPU time, or by the number of calls where there is no CPU profile.
fn shares(labels: &[LabelStats], kind: &str, profiles: &Profiles) -> Vec<Share> {
    let cpu = totals(profiles.cpu.as_ref(), kind);
    let heap = totals(profiles.heap.as_ref(), kind);
    let of = |totals: &Option<HashMap<String, i64>>, name: &str| {
        totals.as_ref().map(|totals| totals.get(name).copied().unwrap_or(0))
    };
    let mut shares: Vec<Share> = labels
        .iter()
        .map(|label| Share {
            name: label.value.clone(),
            cpu_ns: of(&cpu, &label.value),
            calls: label.calls,
            errors: label.errors,
            alloc_bytes: label.alloc_bytes,
            live_bytes: of(&heap, &label.value),
        })
        .collect();
    shares.sort_by_key(|share| Reverse((share.cpu_ns, share.calls)));
    shares
}

fn totals(profile: Option<&Profile>, kind: &str) -> Option<HashMap<String, i64>> {
    profile.map(|profile| profile.label_totals(kind).into_iter().collect())
}
