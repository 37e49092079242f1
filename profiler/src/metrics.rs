//! The profiler's own figures beside those of recording, as Prometheus text.

use std::io::{self, Write};

use stagelight::export::prometheus as text;

/// Writes all that Stagelight knows as a Prometheus exposition: the stages, the queries by label, and what
/// recording and profiling cost and refused.
///
/// # Errors
/// If writing fails.
pub fn write_metrics(mut out: impl Write) -> io::Result<()> {
    let totals = crate::cpu::totals();
    let overhead = crate::overhead::overhead();
    let locks = crate::lock::totals();
    let families = vec![
        text::counter(
            "stagelight_cpu_samples_total",
            "Samples that were kept, over all profiles of the CPU, of waits, by the wall clock and of counters.",
            &[(&[], totals.kept as f64)],
        ),
        text::counter(
            "stagelight_cpu_samples_dropped_total",
            "CPU samples that were taken and not kept, by cause.",
            &[
                (&[("cause", "ring_full")], totals.ring_full as f64),
                (&[("cause", "late_signal")], totals.late as f64),
            ],
        ),
        text::counter(
            "stagelight_sampling_seconds_total",
            "Estimated time spent taking CPU samples.",
            &[(&[], overhead.sampling.as_secs_f64())],
        ),
        text::counter(
            "stagelight_lock_samples_total",
            "Waits for locks, and holds that made others wait, that were recorded, over all profiles of locks.",
            &[(&[], locks.kept as f64)],
        ),
        text::counter(
            "stagelight_lock_samples_dropped_total",
            "Waits for locks, and holds that made others wait, that were not recorded, by cause.",
            &[(&[("cause", "busy")], locks.busy as f64), (&[("cause", "nested")], locks.nested as f64)],
        ),
        text::gauge(
            "stagelight_sampling_memory_bytes",
            "Memory that sampling uses.",
            crate::cpu::bytes() as f64,
        ),
        text::gauge(
            "stagelight_overhead_ratio",
            "Estimated share of recording and sampling in the process's CPU time.",
            overhead.percent / 100.0,
        ),
    ];
    text::write(&stagelight::snapshot(), families, &mut out)?;
    out.flush()
}
