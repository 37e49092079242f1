//! What Stagelight tells of the process and of itself, as JSON and metrics.

use std::collections::BTreeMap;
use std::process;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use stagelight::Snapshot;
use stagelight::export::{json as stages_json, prometheus};

use super::json_text::Json;
use super::profiles::refuse;
use super::tally;
use crate::error::Error;

/// `GET /metrics`
pub(super) fn metrics((): ()) -> Response {
    let mut body = Vec::new();
    let written = crate::metrics::write_metrics(&mut body).map(|()| body);
    match written {
        Ok(body) => ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], body).into_response(),
        Err(error) => refuse(&Error::Io("no metrics".into(), error)),
    }
}

/// `GET /api/v1/stages`
pub(super) fn stages((): ()) -> Json<Value> {
    let snapshot = stagelight::snapshot();
    Json(json!({
        "stages": stages_json::stages(&snapshot),
        "statements": stages_json::labels(&snapshot.statements),
        "tenants": stages_json::labels(&snapshot.tenants),
        "users": stages_json::labels(&snapshot.users),
        "databases": stages_json::labels(&snapshot.databases),
    }))
}

/// `GET /api/v1/status`
pub(super) fn status((): ()) -> Json<Value> {
    let totals = crate::cpu::totals();
    let rung = crate::cpu::chosen();
    let overhead = crate::overhead::overhead();
    let (heap_active, heap) = crate::heap::status();
    let snapshot = stagelight::snapshot();
    Json(json!({
        // First, so that nobody who looks misses them; empty as a rule.
        "warnings": warnings(&snapshot),
        "version": env!("CARGO_PKG_VERSION"),
        "pid": process::id(),
        "recorder": stages_json::recorder(&snapshot),
        "cpu": {
            "running": crate::cpu::running(),
            // Of the running profile or the last one; before the first nobody has looked.
            "rung": rung.as_ref().map(|rung| rung.name),
            "rung_limits": rung.as_ref().map(|rung| rung.limits),
            "rungs_refused": rung.as_ref().map(|rung| &rung.refused),
            "past_seconds": crate::cpu::past_status(),
            "samples": totals.kept,
            "dropped": {
                "ring_full": totals.ring_full,
                "late_signal": totals.late,
            },
        },
        "heap": { "active": heap_active, "how": heap },
        "control": {
            "connections": tally::OPEN.load(Ordering::Relaxed),
            "refused": tally::refused().collect::<BTreeMap<_, _>>(),
        },
        "overhead": {
            "percent": overhead.percent,
            "bytes": overhead.bytes,
            "recording_ns": overhead.recording.as_nanos() as u64,
            "sampling_ns": overhead.sampling.as_nanos() as u64,
            "heap_sampling_ns": overhead.heap_sampling.as_nanos() as u64,
            "threads_ns": overhead.threads.as_nanos() as u64,
        },
    }))
}

/// What makes figures say less than they seem to, in sentences.
fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let warnings = snapshot.label_fallbacks.iter().map(ToString::to_string);
    #[cfg(target_os = "linux")]
    let warnings =
        warnings.chain(crate::copies::others().iter().map(ToString::to_string).collect::<Vec<_>>());
    warnings.collect()
}

/// `GET /api/v1/kept`
pub(super) fn kept((): ()) -> Json<Value> {
    let kept: Vec<Value> = crate::cpu::kept_profiles()
        .iter()
        .map(|kept| {
            let at = kept.at().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            json!({
                "number": kept.number(),
                "reason": kept.reason(),
                "at_ns": at.as_nanos() as u64,
                "samples": kept.samples(),
            })
        })
        .collect();
    Json(json!({ "kept": kept }))
}
