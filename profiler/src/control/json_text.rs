//! Answers in JSON.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use stagelight::export::json::Text;

/// An answer that can be looked at in a terminal, whatever its texts hold.
pub(super) struct Json<T>(pub(super) T);

impl IntoResponse for Json<Value> {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], Text(&self.0).to_string()).into_response()
    }
}
