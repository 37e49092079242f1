//! What the process as a whole uses, under the names that Prometheus' client libraries give it.

use std::time::SystemTime;

use super::exposition::Number;
use super::families::{Families, counter, gauge, nanoseconds};
use crate::collect::process::ProcessStats;
use crate::collect::query_cpu::query_cpu;
use crate::metric::exposed::{PROCESS_CPU, PROCESS_MEMORY, PROCESS_START};

/// What the system doesn't tell is left out.
pub(super) fn families() -> Families {
    let ProcessStats { cpu, started, resident_bytes } = ProcessStats::read();
    let cpu = cpu.map(|cpu| {
        counter(PROCESS_CPU, "CPU time of the process, user and system.", &[(&[], nanoseconds(cpu))])
    });
    let started = started.and_then(|started| started.duration_since(SystemTime::UNIX_EPOCH).ok()).map(|at| {
        gauge(
            PROCESS_START,
            "When the process started, in seconds since 1970.",
            Number::from(at.as_secs_f64()),
        )
    });
    let memory = resident_bytes
        .map(|bytes| gauge(PROCESS_MEMORY, "Memory of the process that is in RAM.", Number::from(bytes)));
    let by_query = query_cpu().map(|[within, outside]| {
        let series: [(&[(&str, &str)], Number); 2] = [
            (&[("in", "queries")], Number::Nanoseconds(within)),
            (&[("in", "no_query")], Number::Nanoseconds(outside)),
        ];
        counter(
            "stagelight_cpu_seconds_total",
            "CPU time of the process in queries and in none, from the collector's looks.",
            &series,
        )
    });
    [cpu, started, memory, by_query].into_iter().flatten().collect()
}
