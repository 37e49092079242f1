//! From a socket to requests and back, for as long as the client is there and does its part.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};

use super::client::Connection;
use super::clients::{Admitted, Clients};
use super::departure::departed;
use super::dispatch;
use super::guard::Guard;
use super::tally::{self, Cause};

/// More than any request has before its body.
const HEAD_BYTES: usize = 64 << 10;

/// Serves all who come, for ever.
pub(super) async fn accept(listener: TcpListener, clients: Arc<Clients>, guard: Arc<Guard>) {
    /// The process has no descriptor left, as a rule.
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match clients.admit() {
                Some(admitted) => {
                    tokio::spawn(serve(stream, admitted, Arc::clone(&clients), Arc::clone(&guard)));
                    // It reads what it was sent before one more can take its place.
                    tokio::task::yield_now().await;
                }
                None => turn_away(
                    &stream,
                    "503 Service Unavailable",
                    "all connections are in use: ask again later",
                ),
            },
            Err(error) if is_of_one(&error) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Whether a client failed, and not the listener.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn serve(stream: TcpStream, admitted: Admitted, clients: Arc<Clients>, guard: Arc<Guard>) {
    let (stream, client) = (Arc::new(stream), Arc::clone(&admitted.client));
    // An answer is written at once; there is nothing to wait for with its last bytes.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        let (stream, client, guard) = (Arc::clone(&stream), Arc::clone(&client), Arc::clone(&guard));
        async move {
            client.waits();
            let answer: Result<Response<Body>, io::Error> = tokio::select! {
                biased;
                response = dispatch::answer(&guard, request.map(Body::new)) => Ok(response),
                // With what was asked for, a profile also ends.
                () = departed(&stream) => Err(io::ErrorKind::ConnectionAborted.into()),
            };
            client.reads();
            answer
        }
    });
    let connection = Connection { stream: Arc::clone(&stream), client: Arc::clone(&client) };
    let served = http1::Builder::new()
        .half_close(true)
        // We keep the time ourselves, of all that a client may do.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(connection, service);
    tokio::select! {
        // First, for it tells what the client does.
        biased;
        // What fails there is the client's.
        _ = served => {}
        overdue = client.overdue(clients.limits.patience) => {
            if let Some(cause) = overdue {
                tally::count(cause);
                if cause == Cause::SlowRequest {
                    turn_away(&stream, "408 Request Timeout", "the request did not come in time");
                }
            }
        }
        () = client.ended() => {}
    }
    drop(admitted);
}

/// Tells a client that it gets nothing, if it can be told at once.
fn turn_away(stream: &TcpStream, status: &str, sentence: &str) {
    let length = sentence.len() + 1;
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{sentence}\n"
    );
    let _ = stream.try_write(response.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::client::Patience;
    use super::super::clients::Limits;
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::SocketAddr;
    use std::time::Instant;

    /// As `server.rs` has it, with other limits.
    fn start(limits: Limits) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                accept(listener, Arc::new(Clients::new(limits)), Arc::default()).await;
            });
        });
        address
    }

    const LONG: Duration = Duration::from_secs(3_600);
    const SHORT: Duration = Duration::from_millis(300);

    fn connect(patience: Patience) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(start(Limits { connections: 4, patience })).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    fn refused(cause: &str) -> u64 {
        tally::refused().find(|(name, _)| *name == cause).unwrap().1
    }

    #[test]
    fn a_request_that_drips_is_told_that_it_is_late() {
        let mut stream = connect(Patience { request: SHORT, next: LONG, answer: LONG });
        // The first is in time, and the second begins whenever it likes.
        stream.write_all(GET.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        std::thread::sleep(2 * SHORT);
        let begun = Instant::now();
        let mut dripping = stream.try_clone().unwrap();
        std::thread::spawn(move || {
            for byte in GET.bytes().cycle().take_while(|byte| *byte != b'\r').chain(std::iter::repeat(b'x')) {
                if dripping.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(SHORT / 10);
            }
        });
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 408"));
        assert!(begun.elapsed() >= SHORT);
        assert!(refused("slow_request") > 0);
    }

    #[test]
    fn a_client_that_asks_nothing_more_is_left_without_a_word() {
        let mut stream = connect(Patience { request: LONG, next: SHORT, answer: LONG });
        stream.write_all(GET.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("</html>\n"), "{answer}");
    }

    #[test]
    fn who_does_not_read_is_ended_and_who_reads_slowly_is_not() {
        /// More than the system keeps between the two.
        const REQUESTS: usize = 3_000;
        let patience = Patience { request: LONG, next: LONG, answer: SHORT };
        let before = refused("slow_reader");
        let mut stream = connect(patience);
        stream.write_all(GET.repeat(REQUESTS).as_bytes()).unwrap();
        let begun = Instant::now();
        while refused("slow_reader") == before {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is ended");
            std::thread::sleep(SHORT / 10);
        }

        let mut stream = connect(patience);
        stream.write_all(GET.repeat(REQUESTS - 1).as_bytes()).unwrap();
        stream.write_all(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let (mut bytes, mut piece) = (0, vec![0; 1 << 18]);
        let mut answers = 0;
        let mut last = Vec::new();
        loop {
            let count = stream.read(&mut piece).unwrap();
            if count == 0 {
                break;
            }
            bytes += count;
            last.extend_from_slice(&piece[..count]);
            let whole = last.windows(8).filter(|end| *end == b"</html>\n").count();
            answers += whole;
            // What may be the beginning of an end is looked at once more.
            last.drain(..last.len() - last.len().min(7));
            if answers < REQUESTS / 2 {
                std::thread::sleep(SHORT / 10);
            }
        }
        assert_eq!(answers, REQUESTS, "of {bytes} bytes");
    }
}
