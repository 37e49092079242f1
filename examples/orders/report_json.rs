//! The report as data: report.json.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use stagelight::export::json::{Text, stages};

use crate::profiles::Profiles;
use crate::truth::Tally;
use crate::usage::{Share, Usage};

/// Writes what report.json holds.
pub fn write(out: &mut impl Write, usage: &Usage, profiles: &Profiles, counted: &Tally) -> io::Result<()> {
    let overhead = stagelight_profiler::overhead();
    let report = json!({
        "stages": stages(&usage.snapshot),
        "statements": shares(&usage.statements),
        "tenants": shares(&usage.tenants),
        "profiler": profiler(profiles),
        "overhead": { "percent": overhead.percent, "bytes": overhead.bytes },
        "truth": truth(counted),
    });
    writeln!(out, "{:#}", Text(&report))
}

/// A figure of a profile that was refused is `null`.
fn shares(shares: &[Share]) -> Value {
    let share = |share: &Share| {
        json!({
            "name": share.name,
            "cpu_ns": share.cpu_ns,
            "calls": share.calls,
            "errors": share.errors,
            "alloc_bytes": share.alloc_bytes,
            "live_bytes": share.live_bytes,
        })
    };
    shares.iter().map(share).collect()
}

/// The figures of the CPU profile, or `null`.
fn profiler(profiles: &Profiles) -> Value {
    let Some(cpu) = &profiles.cpu else { return Value::Null };
    let stats = cpu.stats();
    let dropped: Map<String, Value> =
        stats.dropped.iter().map(|(cause, count)| ((*cause).to_owned(), (*count).into())).collect();
    json!({
        "rung": stats.rung,
        "samples": stats.samples,
        "complete_stacks": stats.complete_stacks,
        "dropped": dropped,
    })
}

/// What the program counted and measured by itself.
fn truth(counted: &Tally) -> Value {
    let calls = |(name, calls): (&str, u64)| json!({ "name": name, "calls": calls });
    let cpu = |(name, cpu_ns): (&str, u64)| json!({ "name": name, "cpu_ns": cpu_ns });
    json!({
        "statements": counted.statements().map(calls).collect::<Value>(),
        "stages": counted.stages().map(calls).collect::<Value>(),
        "tenants": counted.tenants().map(cpu).collect::<Value>(),
    })
}
