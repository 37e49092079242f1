//! The profiler's own figures beside those of recording, as Prometheus text.

use std::io::{self, Write};

use stagelight::export::prometheus as text;

/// Live memory by label, if it was asked for.
fn live_memory() -> text::Families {
    let Some(live) = crate::heap::by_label() else { return Vec::new() };
    let by_label = |(label, values): &(&str, Vec<(String, i64)>)| {
        let within = if *label == "component" { "stages" } else { "queries" };
        let series = values.iter().map(|(value, bytes)| ((*label, value.as_str()), *bytes as f64));
        text::gauge_by(
            &format!("stagelight_{label}_live_bytes"),
            &format!("Estimated bytes allocated within {within} and not yet freed, by {label}."),
            series,
        )
    };
    let mut families: text::Families = live.bytes.iter().map(by_label).collect();
    families.push(text::gauge(
        "stagelight_heap_samples",
        "Samples that the figures of live bytes rest on.",
        live.samples,
    ));
    families.push(text::gauge(
        "stagelight_heap_age_seconds",
        "How old the figures of live bytes are.",
        live.age().as_secs_f64(),
    ));
    families
}

/// What the control API refused its clients.
#[cfg(feature = "control")]
fn control() -> text::Families {
    let refused = crate::control::tally::refused().map(|(cause, count)| ([("cause", cause)], count as f64));
    let refused: Vec<_> = refused.collect();
    let series: Vec<_> = refused.iter().map(|(labels, count)| (&labels[..], *count)).collect();
    vec![text::counter(
        "stagelight_control_refused_total",
        "Requests and connections that the control API refused or ended, by cause.",
        &series,
    )]
}

/// Writes all that Stagelight knows as a Prometheus exposition: the stages, the queries by label, and what
/// recording and profiling cost and refused. Live memory by label is among it once
/// [`heap_metrics`](crate::heap_metrics) asked for that.
///
/// # Errors
/// If writing fails.
pub fn write_metrics(mut out: impl Write) -> io::Result<()> {
    let totals = crate::cpu::totals();
    let overhead = crate::overhead::overhead();
    let locks = crate::lock::totals();
    let mut families = vec![
        text::counter(
            "stagelight_cpu_samples_total",
            "Samples that were kept, over all profiles of the CPU, of waits, by the wall clock and of counters.",
            &[(&[], totals.kept)],
        ),
        text::counter(
            "stagelight_cpu_samples_dropped_total",
            "CPU samples that were taken and not kept, by cause.",
            &[(&[("cause", "ring_full")], totals.ring_full), (&[("cause", "late_signal")], totals.late)],
        ),
        text::counter(
            "stagelight_sampling_seconds_total",
            "Estimated time spent taking CPU samples.",
            &[(&[], overhead.sampling.as_secs_f64())],
        ),
        text::counter(
            "stagelight_lock_samples_total",
            "Waits for locks, and holds that made others wait, that were recorded, over all profiles of locks.",
            &[(&[], locks.kept)],
        ),
        text::counter(
            "stagelight_lock_samples_dropped_total",
            "Waits for locks, and holds that made others wait, that were not recorded, by cause.",
            &[(&[("cause", "busy")], locks.busy), (&[("cause", "nested")], locks.nested)],
        ),
        text::gauge(
            "stagelight_sampling_memory_bytes",
            "Memory that sampling uses.",
            crate::cpu::bytes() as u64,
        ),
        text::counter(
            "stagelight_threads_cpu_seconds_total",
            "CPU time of Stagelight's own threads: the collector's, exporters included, those that sample and drain, and those \
             that answer the control API.",
            &[(&[], overhead.threads.as_secs_f64())],
        ),
        text::gauge(
            "stagelight_overhead_ratio",
            "Estimated share of recording, sampling and Stagelight's own threads in the process's CPU time.",
            overhead.percent / 100.0,
        ),
    ];
    #[cfg(feature = "control")]
    families.extend(control());
    families.extend(live_memory());
    text::write(&stagelight::snapshot(), families, &mut out)?;
    out.flush()
}
