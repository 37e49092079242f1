//! The control API over HTTP: what an on-call engineer asks a running process.

use std::future::IntoFuture;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::error::Error;

mod activity;
mod counters;
mod dispatch;
mod heap_switch;
mod index;
mod json_text;
pub mod params;
mod profiles;
mod routes;
mod status;
mod work;

/// Starts the control API in a thread of its own, on an address of this machine:
///
/// ```no_run
/// let server = stagelight_profiler::serve("127.0.0.1:6060")?;
/// println!("http://{}/", server.local_addr());
/// # Ok::<(), stagelight_profiler::Error>(())
/// ```
///
/// | `GET` | gives |
/// | --- | --- |
/// | `/metrics` | Prometheus text |
/// | `/debug/pprof/` | what there is, as a page |
/// | `/debug/pprof/profile?seconds=30&hz=99` | a CPU profile of that time |
/// | `/debug/pprof/offcpu?seconds=30` | where threads wait and for how long, as [`off_cpu`](fn@crate::off_cpu) does |
/// | `/debug/pprof/wall?seconds=30&hz=20` | where all threads are, running or not, as [`wall`](fn@crate::wall) does, at its cost |
/// | `/debug/pprof/block?seconds=30` | who waits for locks, for how long and for whom, as [`locks`](fn@crate::locks) does |
/// | `/debug/pprof/mutex?seconds=30` | which holds of locks make others wait, likewise; one of the two at a time |
/// | `/debug/pprof/heap` | the live heap; with `?seconds=N` its growth in that time |
/// | `/debug/pprof/allocs?seconds=30` | what is allocated in that time, freed or not, as [`allocs`](fn@crate::allocs) does |
/// | `/api/v1/stages` | stages and queries as JSON |
/// | `/api/v1/queries?by=self_ns&limit=20` | queries since the last reset, by `kind=` of label, most of a column first |
/// | `/api/v1/counters?seconds=10` | the processor's and the kernel's counters by stage and statement |
/// | `/api/v1/active` | what runs at this instant |
/// | `/api/v1/history?seconds=60` | what was active on average (needs a `stagelight::collector`) |
/// | `/api/v1/traces` | the latest traces (likewise), with `format=chrome` for Perfetto |
/// | `/api/v1/status` | what Stagelight does, uses and refused, as JSON |
///
/// What a profile is like, of CPU, waits, wall clock, locks, heap and allocations alike:
///
/// | parameter | gives |
/// | --- | --- |
/// | `format=pprof` | gzipped pprof, symbolized; the default |
/// | `format=svg`, `icicle` | a flame graph, or one with its roots at the top |
/// | `format=top` | the functions that take most, as a table in plain text, below a table for each label of `by` and one of all |
/// | `sort=cum`, `limit=200` | of `format=top`: functions by what they took with all that they called; rows in each table |
/// | `format=folded` | folded stacks |
/// | `format=speedscope`, `firefox` | JSON for speedscope, or for the Firefox Profiler |
/// | `by=tenant`, `by=tenant,stage` | stacks rooted in labels |
/// | `tenant=acme`, `stage=exec.scan` … | only the samples with that label; of several, those with all |
/// | `lines=1` | files, lines and inlined functions too, from the debug information |
/// | `kernel=1` | of the CPU: functions of the kernel too, as [`kernel_frames`](crate::CpuBuilder::kernel_frames) gives them where that is permitted |
///
/// Times are of seconds, or have a unit: `30`, `30s`, `500ms`, `2m`, `1h`. A parameter that a path does not take, or that is given
/// twice, is an error that names the nearest right one. `HEAD` is answered without taking a profile.
///
/// `POST /api/v1/mode?stage=PATTERN&mode=time|count|off` says what is recorded of the stages that a pattern matches, as
/// [`stagelight::set_mode`] does.
///
/// `POST /api/v1/heap?lg_sample=17|off&focus=tenant:acme|off` says how often the heap is sampled and of whom stacks are taken, as
/// [`sample_heap`](crate::sample_heap) and [`focus_heap`](crate::focus_heap) do; what is not named stays as it is.
///
/// `POST /api/v1/queries/reset` makes the figures of `/api/v1/queries` begin anew, as [`stagelight::reset_queries`] does; all
/// others go on.
///
/// Port 0 takes a free port. Whoever has an account on the machine can reach the API.
///
/// # Errors
/// [`Error::Io`] if the address can't be had, and [`Error::Refused`] for one that other machines can reach: what
/// the API shows is not for everyone.
pub fn serve(addr: impl ToSocketAddrs) -> Result<Server, Error> {
    let failed = |error| Error::Io("the control API can't have that address".into(), error);
    let addresses: Vec<SocketAddr> = addr.to_socket_addrs().map_err(failed)?.collect();
    if let Some(open) = addresses.iter().find(|address| !address.ip().is_loopback()) {
        return Err(Error::Refused(format!(
            "the control API on {open} could be reached from other machines; give it a loopback address such as \
             127.0.0.1:{} and forward a port",
            open.port()
        )));
    }
    let listener = TcpListener::bind(&addresses[..]).map_err(|error| {
        let wanted: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Error::Io(format!("the control API can't listen on {}", wanted.join(", ")), error)
    })?;
    let local_addr = listener.local_addr().map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("stagelight-http".into())
        .spawn(move || {
            if let Err(error) = run(listener, stopped) {
                eprintln!("stagelight: the control API ended: {error}");
            }
        })
        .map_err(failed)?;
    Ok(Server { local_addr, stop: Some(stop), thread: Some(thread) })
}

/// The running control API. Dropping it ends it, and with it the profiles that are being taken for its clients.
#[must_use = "the control API ends when this is dropped"]
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// The address that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
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

fn run(listener: TcpListener, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("stagelight-http")
        .max_blocking_threads(work::THREADS)
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        tokio::spawn(axum::serve(listener, axum::Router::new().fallback(dispatch::answer)).into_future());
        // Ends when the sender is dropped.
        let _ = stopped.await;
        Ok::<(), io::Error>(())
    })?;
    // Without waiting for clients.
    runtime.shutdown_background();
    Ok(())
}
