//! What there is, for people: as a page, and in the answer to a path that is none.

use axum::response::Html;

/// What there is: path and what it gives.
pub(super) const PATHS: [(&str, &str); 26] = [
    ("/metrics", "all figures as Prometheus text"),
    ("/debug/pprof/", "this list, as a page"),
    ("/debug/pprof/profile?seconds=10&hz=99", "a CPU profile, as pprof"),
    ("/debug/pprof/profile?seconds=10&format=svg&by=tenant,stage", "a flame graph by tenant and stage"),
    (
        "/debug/pprof/profile?seconds=10&format=top&tenant=acme",
        "what one tenant's CPU time goes into, as a table",
    ),
    ("/debug/pprof/profile?past=60s", "the CPU profile of the last minute, where one is taken continuously"),
    ("/debug/pprof/kept?number=1", "a CPU profile that a trigger had kept; without a number the latest"),
    ("/debug/pprof/offcpu?seconds=10", "where threads wait and for how long, as pprof"),
    ("/debug/pprof/wall?seconds=10&hz=20", "where all threads are, by visits that interrupt them, as pprof"),
    ("/debug/pprof/block?seconds=10", "who waits for locks, for how long and for whom, as pprof"),
    (
        "/debug/pprof/block?seconds=10&format=svg&by=holder_tenant,tenant",
        "a flame graph of who waits for whom",
    ),
    ("/debug/pprof/mutex?seconds=10", "which holds of locks make others wait, as pprof"),
    ("/debug/pprof/heap", "the live heap, as pprof"),
    ("/debug/pprof/heap?format=svg&by=tenant", "a flame graph of the live heap by tenant"),
    ("/debug/pprof/allocs?seconds=10", "what is allocated in that time, freed or not, as pprof"),
    ("/api/v1/stages", "stages and queries as JSON"),
    ("/api/v1/counters?seconds=10", "cycles, misses, faults and switches by stage and statement, as JSON"),
    (
        "/api/v1/queries?by=self_ns&limit=20",
        "queries since the last reset, most of a column first; kind=, format=table",
    ),
    ("/api/v1/queries/reset", "by POST: from now on the queries above count from nothing"),
    ("/api/v1/active", "what runs at this instant, as JSON"),
    ("/api/v1/history?seconds=60", "what was active on average, by stage, query and state, as JSON"),
    (
        "/api/v1/traces?limit=50",
        "the latest traces, as JSON: by tenant=, statement=, min_ms=, failed=1; with format=chrome for Perfetto",
    ),
    ("/api/v1/kept", "which profiles triggers had kept, and why, as JSON"),
    (
        "/api/v1/mode?stage=storage::*&mode=count",
        "by POST: what is recorded of stages: span, time, count or off",
    ),
    (
        "/api/v1/heap?lg_sample=17&focus=tenant:acme",
        "by POST: how often the heap is sampled (or off), and of whom stacks are taken (or off, of all)",
    ),
    ("/api/v1/status", "what Stagelight does, uses and refused, as JSON"),
];

/// `GET /`
pub(super) fn index((): ()) -> Html<String> {
    let rows: String = PATHS
        .iter()
        .map(|(path, what)| format!("<tr><td><a href=\"{path}\">{path}</a></td><td>{what}</td></tr>\n"))
        .collect();
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Stagelight</title>\n<style>\
         body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }}\
         td {{ padding: .2rem 2rem .2rem 0; vertical-align: top }} a {{ font-family: ui-monospace, monospace }}\
         </style></head>\n<body><h1>Stagelight</h1>\n<p>Process {}.</p>\n<table>\n{rows}</table>\n\
         <p><code>format=svg</code>, <code>icicle</code>, <code>top</code>, <code>folded</code>, <code>speedscope</code> \
         or <code>firefox</code> instead of pprof; <code>by=</code> a label, or several, to root the stacks in; a label \
         and its value, such as <code>tenant=acme</code>, for the samples of that alone; <code>lines=1</code> for \
         lines and inlined functions; of the CPU <code>kernel=1</code> for functions of the kernel.</p></body></html>\n",
        std::process::id()
    ))
}

/// The answer to a path that is none.
pub(super) fn unknown(path: &str) -> String {
    let path = stagelight::export::table::shorten(path, 80);
    let list: String = PATHS.iter().map(|(path, what)| format!("  {path}\n      {what}\n")).collect();
    format!("{path} is not here. There are:\n{list}")
}
