//! `POST /api/v1/heap`: what the heap is sampled at, and of whom stacks are taken.

use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::json_text::Json;
use super::params::HeapParams;
use super::profiles;
use crate::error::Error;

/// `POST /api/v1/heap?lg_sample=17|off&focus=tenant:acme|off`
pub(super) fn switch(params: HeapParams) -> Response {
    match apply(&params) {
        Ok(()) => {
            let (active, how) = crate::heap::status();
            Json(json!({ "active": active, "how": how })).into_response()
        }
        Err(error) => profiles::refuse(&error),
    }
}

/// A focus first, so that no rate that was meant for it alone holds for all, even for a moment.
fn apply(params: &HeapParams) -> Result<(), Error> {
    if let Some(focus) = &params.focus {
        crate::heap::focus_heap(focus.as_ref().map(|(label, value)| (label.as_str(), value.as_str())))?;
    }
    params.lg_sample.map_or(Ok(()), crate::heap::sample_heap)
}
