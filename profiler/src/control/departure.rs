//! Whether a client still waits for its answer.
//!
//! One that has sent all that it will may say so and wait (`shutdown(SHUT_WR)`, as `nc -N` does),
//! and one that is gone looks just the same: both send a FIN. But whether the other end of the
//! connection still belongs to a process is known to the system, on the same machine.

use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::{peer, work};

/// Comes when the client will take no answer.
pub(super) async fn departed(stream: &TcpStream) {
    all_sent(stream).await;
    /// Where nobody can tell, what takes longer is taken for abandoned.
    const IF_UNKNOWN: Duration = Duration::from_secs(10);
    const RARELY: Duration = Duration::from_secs(2);
    let (Ok(here), Ok(there)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let since = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        // What the system says is text, long on a machine with many connections.
        let open = work::aside(move || peer::is_open(there, here)).await.unwrap_or(None);
        if open == Some(false) || open.is_none() && since.elapsed() > IF_UNKNOWN {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(RARELY);
    }
}

/// Comes when the client will send no more.
async fn all_sent(stream: &TcpStream) {
    const AGAIN: Duration = Duration::from_secs(1);
    loop {
        match stream.peek(&mut [0]).await {
            Ok(0) | Err(_) => return,
            // A next request, or the body of this one, which nobody reads now; the end may be
            // behind it.
            Ok(_) => match stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => sleep(AGAIN).await,
                _ => return,
            },
        }
    }
}
