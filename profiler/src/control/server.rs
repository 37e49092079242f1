//! The running API: its settings, its thread, its end.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use stagelight::__private::count_own_thread;
use tokio::sync::oneshot;

use super::bind::{self, Address};
use super::clients::{Clients, Limits};
use super::guard::Guard;
use super::{connection, work};
use crate::error::Error;

/// The control API with settings of your own; [`serve`](super::serve) says what it is.
///
/// ```no_run
/// // Behind a proxy that gives it a name.
/// let server = stagelight_profiler::control().allow_host("profiles.example.com").serve("127.0.0.1:6060")?;
/// # Ok::<(), stagelight_profiler::Error>(())
/// ```
pub fn control() -> ControlBuilder {
    ControlBuilder::default()
}

/// Settings of the control API, from [`control`].
#[derive(Clone, Debug, Default)]
#[must_use = "the control API starts by `serve`"]
pub struct ControlBuilder {
    hosts: Vec<String>,
}

impl ControlBuilder {
    /// Answers requests for that host too, with any port, and those from its pages. Without it
    /// these are this machine's loopback names and addresses, and the name that the API is bound
    /// by.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// Starts the API, as [`serve`](super::serve) does.
    ///
    /// # Errors
    /// As there, and [`Error::Invalid`] for a host that is no name.
    pub fn serve(self, addr: impl Address) -> Result<Server, Error> {
        let failed = |error| Error::Io("the control API can't start".into(), error);
        let listeners = bind::bind(&addr)?;
        let local_addrs: Vec<SocketAddr> =
            listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>().map_err(failed)?;
        // Addresses that it was bound by are loopback's in any case.
        let name = addr.host().filter(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err());
        let hosts = self.hosts.into_iter().chain(name.map(str::to_owned));
        let guard = Guard::new(hosts, local_addrs.iter().map(SocketAddr::port).collect());
        let guard = Arc::new(guard.map_err(Error::Invalid)?);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("stagelight-http".into())
            .spawn(move || {
                count_own_thread();
                if let Err(error) = run(listeners, &guard, stopped) {
                    eprintln!("stagelight: the control API ended: {error}");
                }
            })
            .map_err(failed)?;
        Ok(Server { local_addrs, stop: Some(stop), thread: Some(thread) })
    }
}

/// The running control API. Dropping it ends it, and with it the profiles that are being taken for
/// its clients.
#[must_use = "the control API ends when this is dropped"]
#[derive(Debug)]
pub struct Server {
    local_addrs: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// The address that it listens on, or the first of several.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs[0]
    }

    /// All addresses that it listens on: those that the name stands for which it was bound by.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its thread and is no reason to bring down the host.
            let _ = thread.join();
        }
    }
}

fn run(listeners: Vec<TcpListener>, guard: &Arc<Guard>, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("stagelight-http")
        .max_blocking_threads(work::THREADS)
        .on_thread_start(count_own_thread)
        .build()?;
    runtime.block_on(async {
        let clients = Arc::new(Clients::new(Limits::default()));
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(connection::accept(listener, Arc::clone(&clients), Arc::clone(guard)));
        }
        // Ends when the sender is dropped.
        let _ = stopped.await;
        Ok::<(), io::Error>(())
    })?;
    // Without waiting for clients.
    runtime.shutdown_background();
    Ok(())
}
