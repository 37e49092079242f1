//! The counters, for clients.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::json_text::Json;
use super::params::Params;
use super::{profiles, work};
use crate::cpu::{Counters, CountersRow};
use crate::error::Error;

/// `GET /api/v1/counters?seconds=10`
pub(super) async fn counters(params: Params) -> Response {
    match take(params).await {
        Ok(counters) => Json(to_json(&counters)).into_response(),
        Err(error) => profiles::refuse(&error),
    }
}

async fn take(params: Params) -> Result<Counters, Error> {
    const DEFAULT: Duration = Duration::from_secs(10);
    let duration = params.seconds.unwrap_or(DEFAULT);
    let builder = crate::cpu::counters().duration(duration).owner(profiles::OWNER);
    let session = work::aside(move || builder.start_bounded()).await??;
    tokio::time::sleep(duration).await;
    work::on_profile(move || session.stop()).await?
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
