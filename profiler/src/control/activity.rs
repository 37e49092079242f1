//! What queries do: at this instant, over the last minutes, one by one; and what is recorded of them.

use std::time::{Duration, SystemTime};

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use stagelight::export::{chrome, json as figures, table as text};
use stagelight::{LabelKind, Mode};

use super::json_text::Json;
use super::params::{ModeParams, Params, QueriesParams, TracesParams};

/// `GET /api/v1/active`
pub(super) fn active((): ()) -> Json<Value> {
    let active = stagelight::active();
    let threads = active.iter().map(|active| {
        let mut object = labels(&active.labels);
        object.insert("thread".into(), active.thread.into());
        object.insert("path".into(), json!(active.path));
        object.insert("state".into(), active.state.name().into());
        object.insert("running_ns".into(), json!(active.running.map(|running| running.as_nanos() as u64)));
        Value::Object(object)
    });
    Json(threads.collect())
}

/// `GET /api/v1/history?seconds=60`
pub(super) fn history(params: Params) -> Json<Value> {
    const DEFAULT: Duration = Duration::from_secs(60);
    let past = params.seconds.unwrap_or(DEFAULT);
    let (averages, looks) = stagelight::active_averages(past);
    let rows = averages.iter().map(|average| {
        let mut object = labels(&average.labels);
        object.insert("stage".into(), average.stage.into());
        object.insert("state".into(), average.state.name().into());
        object.insert("average".into(), average.average.into());
        Value::Object(object)
    });
    Json(json!({ "looks": looks, "active": rows.collect::<Value>() }))
}

/// `GET /api/v1/traces?tenant=acme&min_ms=20&failed=1&limit=50`, `format=chrome`
pub(super) fn traces(params: TracesParams) -> Json<Value> {
    let traces = stagelight::find_traces(&params.filter);
    let traces = traces.iter().map(|trace| &**trace);
    Json(if params.chrome { chrome::traces(traces) } else { figures::traces(traces) })
}

/// `GET /api/v1/queries?kind=statement&by=self_ns&limit=20`, `format=table`
pub(super) fn queries(QueriesParams { kind, by, limit, table }: QueriesParams) -> Response {
    let queries = stagelight::snapshot().queries();
    if table {
        return text::queries(&queries, kind, by, limit).into_response();
    }
    Json(figures::queries(&queries, kind, by, limit)).into_response()
}

/// `POST /api/v1/queries/reset`
pub(super) fn reset_queries((): ()) -> Json<Value> {
    let since = stagelight::reset_queries();
    let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    Json(json!({ "since_ns": since as u64 }))
}

/// `POST /api/v1/mode?stage=PATTERN&mode=span|time|count|off`
pub(super) fn mode(params: ModeParams) -> Json<Value> {
    // The table lets nothing pass without one.
    let mode = params.mode.unwrap_or(Mode::Span);
    let matched = stagelight::set_mode(&params.stage, mode);
    Json(json!({ "stage": params.stage, "mode": mode.name(), "matched": matched }))
}

fn labels(values: &[&str; LabelKind::ALL.len()]) -> Map<String, Value> {
    LabelKind::ALL.into_iter().map(|kind| (kind.name().to_owned(), values[kind as usize].into())).collect()
}
