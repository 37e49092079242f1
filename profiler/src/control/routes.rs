//! The paths of the API, with what they take and who answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;

use axum::http::header::RETRY_AFTER;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::params::{self, Parameters};
use super::profiles::refuse;
use super::tally::{self, Cause};
use super::{activity, counters, heap_switch, index, profiles, status, work};

/// A path and the method that it answers to.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) method: Method,
    /// Reads a query string and gives what will answer, which does nothing yet; or the sentence that says what is wrong.
    pub(super) answer: Box<Answering>,
}

type Answering = dyn Fn(&str) -> Result<Answer, String> + Send + Sync;

/// What answers once it is polled.
pub(super) type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// All of them.
pub(super) static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    vec![
        look("/", &params::NONE, index::index),
        look("/metrics", &params::NONE, status::metrics),
        look("/debug/pprof", &params::NONE, index::index),
        look("/debug/pprof/", &params::NONE, index::index),
        get("/debug/pprof/profile", &params::CPU, profiles::cpu),
        get("/debug/pprof/offcpu", &params::TIMED, profiles::off_cpu),
        get("/debug/pprof/wall", &params::WALL, profiles::wall),
        get("/debug/pprof/block", &params::TIMED, profiles::block),
        get("/debug/pprof/mutex", &params::TIMED, profiles::mutex),
        get("/debug/pprof/kept", &params::KEPT, profiles::kept),
        get("/debug/pprof/heap", &params::TIMED, profiles::heap),
        get("/debug/pprof/allocs", &params::TIMED, profiles::allocs),
        look("/api/v1/stages", &params::NONE, status::stages),
        get("/api/v1/counters", &params::FIGURES, counters::counters),
        look("/api/v1/queries", &params::QUERIES, activity::queries),
        change("/api/v1/queries/reset", &params::NONE, activity::reset_queries),
        look("/api/v1/active", &params::NONE, activity::active),
        look("/api/v1/history", &params::FIGURES, activity::history),
        look("/api/v1/traces", &params::TRACES, activity::traces),
        look("/api/v1/kept", &params::NONE, status::kept),
        change("/api/v1/mode", &params::MODE, activity::mode),
        look("/api/v1/status", &params::NONE, status::status),
        change("/api/v1/heap", &params::HEAP, heap_switch::switch),
    ]
});

/// What takes a profile, and so its time.
fn get<P, F>(path: &'static str, takes: &'static Parameters<P>, answer: fn(P) -> F) -> Route
where
    P: Default + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let answer = move |query: &str| -> Result<Answer, String> {
        let answering = answer(takes.parse(query)?);
        Ok(Box::pin(async move {
            let Some(_place) = work::place() else { return busy() };
            answering.await
        }))
    };
    Route { path, method: Method::GET, answer: Box::new(answer) }
}

fn busy() -> Response {
    tally::count(Cause::TooManyProfiles);
    let sentence = "other clients are taking as many profiles as may be taken at a time: ask again later\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], sentence).into_response()
}

/// What looks at figures that there are.
fn look<P, R>(path: &'static str, takes: &'static Parameters<P>, answer: fn(P) -> R) -> Route
where
    P: Default + Send + 'static,
    R: IntoResponse + 'static,
{
    at_once(Method::GET, path, takes, answer)
}

/// What changes something.
fn change<P, R>(path: &'static str, takes: &'static Parameters<P>, answer: fn(P) -> R) -> Route
where
    P: Default + Send + 'static,
    R: IntoResponse + 'static,
{
    at_once(Method::POST, path, takes, answer)
}

/// Runs beside the thread that serves all clients, for a look may wait for a lock or be long.
fn at_once<P, R>(
    method: Method,
    path: &'static str,
    takes: &'static Parameters<P>,
    answer: fn(P) -> R,
) -> Route
where
    P: Default + Send + 'static,
    R: IntoResponse + 'static,
{
    let answer = move |query: &str| -> Result<Answer, String> {
        let params = takes.parse(query)?;
        Ok(Box::pin(async move {
            let answered = work::aside(move || answer(params).into_response()).await;
            answered.unwrap_or_else(|error| refuse(&error))
        }))
    };
    Route { path, method, answer: Box::new(answer) }
}

#[cfg(test)]
mod tests {
    use super::super::index::PATHS;
    use super::*;

    #[test]
    fn whatever_is_shown_to_people_is_taken_and_nothing_is_hidden() {
        for (shown, _) in PATHS {
            let (path, query) = shown.split_once('?').unwrap_or((shown, ""));
            let route = ROUTES.iter().find(|route| route.path == path);
            let route = route.unwrap_or_else(|| panic!("{shown} is no path"));
            assert!((route.answer)(query).is_ok(), "{shown}");
        }
        for route in ROUTES.iter().filter(|route| route.path != "/") {
            assert!(PATHS.iter().any(|(shown, _)| shown.starts_with(route.path)), "{}", route.path);
        }
    }
}
