//! From a request to who answers it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, HeaderName, LOCATION, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;

use super::guard::Guard;
use super::index;
use super::routes::{ROUTES, Route};
use super::tally::{self, Cause};

/// Answers a request, if it may be.
pub(super) async fn answer(guard: &Guard, request: Request) -> Response {
    let mut response = match guard.check(&request) {
        Ok(()) => routed(request).await,
        Err(sentence) => forbidden(&sentence, Cause::Foreign),
    };
    // What a browser shall not do with it: take it for another kind, show it within another page,
    // or keep it.
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn forbidden(sentence: &str, cause: Cause) -> Response {
    tally::count(cause);
    (StatusCode::FORBIDDEN, format!("{sentence}\n")).into_response()
}

async fn routed(request: Request) -> Response {
    let uri = request.uri();
    let Some(route) = find(uri.path()) else {
        return elsewhere(uri)
            .unwrap_or_else(|| (StatusCode::NOT_FOUND, index::unknown(uri.path())).into_response());
    };
    // What takes a profile must not do so for who asks for no body.
    let head = *request.method() == Method::HEAD && route.method == Method::GET;
    if *request.method() != route.method && !head {
        return not_so(route);
    }
    if route.method == Method::POST
        && let Err(sentence) = Guard::check_change(&request)
    {
        return forbidden(&sentence, Cause::NoHeader);
    }
    match (route.answer)(uri.query().unwrap_or("")) {
        Err(sentence) => (StatusCode::BAD_REQUEST, format!("{sentence}\n")).into_response(),
        Ok(_) if head => Response::new(Body::new(Untold)),
        Ok(answer) => answer.await,
    }
}

fn find(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == path)
}

/// Where a path with slashes too many at its end leads.
fn elsewhere(uri: &Uri) -> Option<Response> {
    let route = find(uri.path().trim_end_matches('/'))?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let place = HeaderValue::try_from(format!("{}{query}", route.path)).ok()?;
    Some((StatusCode::PERMANENT_REDIRECT, [(LOCATION, place)]).into_response())
}

fn not_so(route: &Route) -> Response {
    let (path, method) = (route.path, &route.method);
    let allowed = if *method == Method::GET { "GET, HEAD" } else { "POST" };
    let sentence = match *method {
        Method::GET => format!("{path} only shows something: ask by GET\n"),
        _ => format!("{path} changes something: ask by {method}, with the header X-Stagelight: 1\n"),
    };
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, allowed)], sentence).into_response()
}

/// What is not given, and of which no length is told: `HEAD` may tell no other than `GET` would.
struct Untold;

impl HttpBody for Untold {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}
