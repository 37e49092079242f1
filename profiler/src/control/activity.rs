//! What queries do: at this instant, over the last minutes, one by one; and what is recorded of them.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use stagelight::LabelKind;
use stagelight::export::{chrome, json as figures, table as text};

use super::params::{self, QueriesParams};

/// `GET /api/v1/active`
pub(super) async fn active() -> Json<Value> {
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
pub(super) async fn history(uri: Uri) -> Response {
    const DEFAULT: Duration = Duration::from_secs(60);
    let past = match params::parse(uri.query().unwrap_or("")) {
        Ok(params) => params.seconds.unwrap_or(DEFAULT),
        Err(sentence) => return refuse(&sentence),
    };
    let (averages, looks) = stagelight::active_averages(past);
    let rows = averages.iter().map(|average| {
        let mut object = labels(&average.labels);
        object.insert("stage".into(), average.stage.into());
        object.insert("state".into(), average.state.name().into());
        object.insert("average".into(), average.average.into());
        Value::Object(object)
    });
    Json(json!({ "looks": looks, "active": rows.collect::<Value>() })).into_response()
}

/// `GET /api/v1/traces`, `?format=chrome`
pub(super) async fn traces(uri: Uri) -> Response {
    let traces = stagelight::recent_traces();
    let traces = traces.iter().map(|trace| &**trace);
    match uri.query().unwrap_or("") {
        "" | "format=json" => Json(figures::traces(traces)).into_response(),
        "format=chrome" => Json(chrome::traces(traces)).into_response(),
        _ => refuse("format must be json or chrome"),
    }
}

/// `GET /api/v1/queries?kind=statement&by=total_ns&limit=20`, `format=table`
pub(super) async fn queries(uri: Uri) -> Response {
    match params::parse_queries(uri.query().unwrap_or("")) {
        Ok(QueriesParams { kind, by, limit, table }) => {
            let queries = stagelight::snapshot().queries();
            if table {
                return text::queries(&queries, kind, by, limit).into_response();
            }
            Json(figures::queries(&queries, kind, by, limit)).into_response()
        }
        Err(sentence) => refuse(&sentence),
    }
}

/// `POST /api/v1/queries/reset`
pub(super) async fn reset_queries() -> Json<Value> {
    let since = stagelight::reset_queries();
    let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    Json(json!({ "since_ns": since as u64 }))
}

/// `POST /api/v1/mode?stage=PATTERN&mode=span|time|count|off`
pub(super) async fn mode(uri: Uri) -> Response {
    match params::parse_mode(uri.query().unwrap_or("")) {
        Ok(params) => {
            let matched = stagelight::set_mode(&params.stage, params.mode);
            Json(json!({ "stage": params.stage, "mode": params.mode.name(), "matched": matched }))
                .into_response()
        }
        Err(sentence) => refuse(&sentence),
    }
}

fn refuse(sentence: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{sentence}\n")).into_response()
}

fn labels(values: &[&str; LabelKind::ALL.len()]) -> Map<String, Value> {
    LabelKind::ALL.into_iter().map(|kind| (kind.name().to_owned(), values[kind as usize].into())).collect()
}
