//! The report on the terminal, in 100 columns.

use std::fmt::Write as _;

use stagelight::export::table::{self, Table};

use crate::files::Files;
use crate::profiles::Profiles;
use crate::usage::{Share, Usage};

/// Statements that are shown; there are only eight tenants.
const TOP_STATEMENTS: usize = 12;

pub fn text(usage: &Usage, profiles: &Profiles, files: &Files) -> String {
    let mut text = String::new();
    section(&mut text, "Stages", &table::stages(&usage.snapshot));
    let top = &usage.statements[..usage.statements.len().min(TOP_STATEMENTS)];
    let of = usage.statements.len();
    let cpu_ns = profiles.cpu.as_ref().map(|cpu| cpu.total());
    let order = if profiles.cpu.is_some() { "CPU time" } else { "calls" };
    let title = format!("Statements by {order} ({} of {of})", top.len());
    section(&mut text, &title, &shares("statement", top, cpu_ns));
    section(&mut text, &format!("Tenants by {order}"), &shares("tenant", &usage.tenants, cpu_ns));
    section(&mut text, "Stagelight itself", &profiler(profiles));
    let written: String = files.written.iter().map(|path| format!("{}\n", path.display())).collect();
    section(&mut text, "Written", &written);
    if !files.failed.is_empty() {
        let failed = files.failed.iter().map(|(path, error)| format!("{}: {error}\n", path.display()));
        section(&mut text, "Not written", &failed.collect::<String>());
    }
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "\n{title}\n{}\n{}", "─".repeat(table::WIDTH), body.trim_end());
}

fn shares(what: &str, shares: &[Share], cpu_ns: Option<i64>) -> String {
    let mut table = Table::new([what, "cpu", "cpu %", "calls", "errors", "alloc", "alloc/call", "live heap"]);
    // A profile that was refused leaves a gap, not a nought.
    let or_gap = |figure: Option<String>| figure.unwrap_or_else(|| "-".into());
    for share in shares {
        let percent = share.cpu_ns.zip(cpu_ns).map(|(part, all)| 100.0 * part as f64 / all.max(1) as f64);
        table.row([
            share.name.clone(),
            or_gap(share.cpu_ns.map(|ns| table::duration(ns.unsigned_abs()))),
            or_gap(percent.map(|percent| format!("{percent:.1}"))),
            table::count(share.calls),
            table::count(share.errors),
            table::bytes(share.alloc_bytes as f64),
            table::bytes(share.alloc_bytes as f64 / share.calls.max(1) as f64),
            or_gap(share.live_bytes.map(|bytes| table::bytes(bytes as f64))),
        ]);
    }
    table.render()
}

/// What the profiler says of its own work.
fn profiler(profiles: &Profiles) -> String {
    let overhead = stagelight_profiler::overhead();
    let mut table = Table::new(["profile", "rung", "samples", "complete stacks", "dropped"]);
    let kinds = [("cpu", &profiles.cpu), ("heap", &profiles.heap)];
    for (kind, profile) in kinds {
        let Some(profile) = profile else { continue };
        let stats = profile.stats();
        let dropped = stats.dropped.iter().map(|(_, count)| count).sum();
        table.row([
            kind.to_owned(),
            stats.rung.clone(),
            table::count(stats.samples),
            table::count(stats.complete_stacks),
            table::count(dropped),
        ]);
    }
    let mut text = table.render();
    for (kind, profile) in kinds {
        let dropped = profile.iter().flat_map(|profile| &profile.stats().dropped);
        for (cause, count) in dropped.filter(|(_, count)| *count > 0) {
            let _ = writeln!(text, "dropped from {kind}: {count} for {cause}");
        }
    }
    let _ = write!(
        text,
        "estimated overhead: {:.2} % of the process's CPU time, {} of memory",
        overhead.percent,
        table::bytes(overhead.bytes as f64),
    );
    text
}
