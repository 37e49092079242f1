//! Work that blocks, apart from the thread that serves all clients. Two kinds, so that none who only looks waits for profiles.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use crate::error::Error;

/// Threads for all such work.
pub(super) const THREADS: usize = 8;

/// Threads that name and render profiles. It takes all of a core each: more at once would only be slower.
const FOR_PROFILES: usize = 2;

static PROFILES: Semaphore = Semaphore::const_new(FOR_PROFILES);

/// Requests for profiles that are under way at once, fewer than connections, so that some are left
/// to who only looks.
const REQUESTS: usize = 16;

static PLACES: Semaphore = Semaphore::const_new(REQUESTS);

const _: () = assert!(FOR_PROFILES < THREADS, "some are left to who only looks");

/// A place for a request for a profile, if one is left.
pub(super) fn place() -> Option<SemaphorePermit<'static>> {
    PLACES.try_acquire().ok()
}

/// Work that is short.
///
/// # Errors
/// If it panicked, which says so by itself, or the API ends.
pub(super) async fn aside<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, Error> {
    spawn_blocking(work).await.map_err(|error| unfinished(std::io::Error::other(error)))
}

/// Work on a profile, after that of others. Once begun it goes on if the client leaves, and has its place until then.
///
/// # Errors
/// As [`aside`].
pub(super) async fn on_profile<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Error> {
    let place = PROFILES.acquire().await.map_err(|error| unfinished(std::io::Error::other(error)))?;
    aside(move || {
        let result = work();
        drop(place);
        result
    })
    .await
}

fn unfinished(error: std::io::Error) -> Error {
    Error::Io("the answer was not finished".into(), error)
}
