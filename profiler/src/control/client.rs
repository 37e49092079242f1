//! One client: what its connection waits for and since when, as its bytes tell.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::tally::Cause;

/// How long a connection waits for its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a request, from the connection's begin, or from the request's first byte.
    pub(super) request: Duration,
    /// For the next request to begin.
    pub(super) next: Duration,
    /// For the client to take some of its answer.
    pub(super) answer: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It sends a request.
    Asks,
    /// It has its answer and asks nothing.
    Rests,
    /// It waits for us.
    Waits,
    /// It takes its answer.
    Reads,
}

/// A client and what it does.
#[derive(Debug)]
pub(super) struct Client {
    doing: Mutex<(Doing, Instant)>,
    /// Tells the connection to end.
    leave: Notify,
}

impl Client {
    pub(super) fn new() -> Self {
        Self { doing: Mutex::new((Doing::Asks, Instant::now())), leave: Notify::new() }
    }

    /// Its request is whole and is worked on.
    pub(super) fn waits(&self) {
        *self.doing() = (Doing::Waits, Instant::now());
    }

    /// Its answer is there to be written.
    pub(super) fn reads(&self) {
        *self.doing() = (Doing::Reads, Instant::now());
    }

    /// Since when the connection has been of no use to its client, if it has: who reads slowly is
    /// not idle at once.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        const READS: Duration = Duration::from_secs(5);
        match *self.doing() {
            (Doing::Asks | Doing::Rests, since) => Some(since),
            (Doing::Reads, since) => Some(since).filter(|since| since.elapsed() > READS),
            (Doing::Waits, _) => None,
        }
    }

    /// Has the connection end.
    pub(super) fn end(&self) {
        self.leave.notify_one();
    }

    /// Comes when the connection shall end to make room.
    pub(super) async fn ended(&self) {
        self.leave.notified().await;
    }

    /// Comes when the client has taken too long. Nothing is wrong with one that asks nothing more;
    /// its connection just ends.
    pub(super) async fn overdue(&self, patience: Patience) -> Option<Cause> {
        let mut timer = pin!(sleep_until(Instant::now() + patience.request));
        // All that moves the deadline comes from the same task, so it is looked at anew at each
        // turn.
        poll_fn(|context| {
            let (doing, since) = *self.doing();
            let (patience, cause) = match doing {
                Doing::Asks => (patience.request, Some(Cause::SlowRequest)),
                Doing::Rests => (patience.next, None),
                Doing::Reads => (patience.answer, Some(Cause::SlowReader)),
                Doing::Waits => return Poll::Pending,
            };
            let deadline = since + patience;
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            timer.as_mut().poll(context).map(|()| cause)
        })
        .await
    }

    /// Some bytes came.
    fn sent(&self) {
        let mut doing = self.doing();
        if doing.0 == Doing::Rests {
            *doing = (Doing::Asks, Instant::now());
        }
    }

    /// Some bytes went.
    fn took(&self) {
        let mut doing = self.doing();
        if doing.0 == Doing::Reads {
            doing.1 = Instant::now();
        }
    }

    /// All that there was to write has been.
    fn took_all(&self) {
        let mut doing = self.doing();
        if doing.0 == Doing::Reads {
            *doing = (Doing::Rests, Instant::now());
        }
    }

    fn doing(&self) -> MutexGuard<'_, (Doing, Instant)> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that tells its client's state.
pub(super) struct Connection {
    pub(super) stream: Arc<TcpStream>,
    pub(super) client: Arc<Client>,
}

impl Connection {
    fn write(
        &self,
        context: &mut Context<'_>,
        write: impl Fn() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.client.took();
                    return Poll::Ready(written);
                }
            }
        }
    }
}

impl Read for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        let room = buffer.remaining().min(bytes.len());
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read(&mut bytes[..room]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    if count > 0 {
                        self.client.sent();
                    }
                    buffer.put_slice(&bytes[..count]);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl Write for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(context, || self.stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(context, || self.stream.try_write_vectored(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.took_all();
        Poll::Ready(Ok(()))
    }

    /// Nothing: the connection is closed right after, when this is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
