//! The counters, for clients.

use std::time::Duration;

use axum::Json;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::profiles::{self, blocking};
use crate::cpu::{Counters, CountersRow};
use crate::error::Error;

/// `GET /api/v1/counters?seconds=10`
pub(super) async fn counters(uri: Uri) -> Response {
    match take(&uri).await {
        Ok(counters) => Json(to_json(&counters)).into_response(),
        Err(error) => profiles::refuse(&error),
    }
}

async fn take(uri: &Uri) -> Result<Counters, Error> {
    const DEFAULT: Duration = Duration::from_secs(10);
    let duration = profiles::read(uri)?.seconds.unwrap_or(DEFAULT);
    let builder = crate::cpu::counters().duration(duration).owner(profiles::OWNER);
    let session = blocking(move || builder.start_bounded()).await??;
    tokio::time::sleep(duration).await;
    blocking(move || session.stop()).await?
}

fn to_json(counters: &Counters) -> Value {
    let totals: Map<_, _> = counters
        .counters
        .iter()
        .map(|counter| {
            let value = match &counter.absent {
                Some(why) => json!({ "absent": why }),
                None => json!({
                    "total": counter.total,
                    "user_only": counter.user_only,
                    "running": counter.running,
                }),
            };
            (counter.name.to_owned(), value)
        })
        .collect();
    let rows = |rows: &[CountersRow]| rows.iter().map(|row| row_to_json(counters, row)).collect::<Value>();
    let dropped: Map<_, _> =
        counters.dropped.iter().map(|(cause, count)| ((*cause).to_owned(), (*count).into())).collect();
    json!({
        "seconds": counters.duration.as_secs_f64(),
        "counters": totals,
        "stages": rows(&counters.by_stage),
        "statements": rows(&counters.by_statement),
        "dropped": dropped,
    })
}

/// A row with the counters that there are.
fn row_to_json(counters: &Counters, row: &CountersRow) -> Value {
    let estimates = counters.counters.iter().filter_map(|counter| {
        let estimate = counters.estimate(row, counter.name)?;
        Some((counter.name.to_owned(), json!({ "value": estimate.value, "samples": estimate.samples })))
    });
    let mut object: Map<_, _> = estimates.collect();
    object.insert("name".into(), row.name.clone().into());
    object.insert("ipc".into(), json!(counters.ipc(row)));
    Value::Object(object)
}
