//! The control API over HTTP: what an on-call engineer asks a running process.

use crate::error::Error;

mod activity;
mod bind;
mod client;
mod clients;
mod connection;
mod counters;
mod departure;
mod dispatch;
mod guard;
mod heap_switch;
mod index;
mod json_text;
pub mod params;
mod peer;
mod profiles;
mod routes;
mod server;
mod status;
pub(crate) mod tally;
mod work;

pub use bind::Address;
pub use server::{ControlBuilder, Server, control};

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
/// | `/api/v1/queries?by=self_ns&limit=20` | queries since the last reset, by `kind=` of label,
/// most of a column first |
/// | `/api/v1/counters?seconds=10` | the processor's and the kernel's counters by stage and statement |
/// | `/api/v1/active` | what runs at this instant |
/// | `/api/v1/history?seconds=60` | what was active on average (needs a `stagelight::collector`) |
/// | `/api/v1/traces?limit=50` | the latest traces (likewise), by `tenant=`, `statement=`, `user=`, `database=`, `min_ms=` and `failed=1`, with `format=chrome` for Perfetto |
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
/// | `lines=1` | files, lines and inlined functions too, from the debug information: frames read `leak::render leak.rs:279` |
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
/// Whoever changes something by `POST` must send the header `X-Stagelight`, of any value:
///
/// ```console
/// curl -X POST -H 'X-Stagelight: 1' 'http://127.0.0.1:6060/api/v1/mode?stage=storage::*&mode=count'
/// ```
///
/// A name such as `localhost` has the API listen on all addresses that it stands for. Port 0 takes
/// a free port, the same on all of them.
///
/// # Who can reach it
/// Whoever has an account on the machine, and no web page that a browser there shows: a page can't
/// send the header of a change, requests from pages of other origins are refused, and so are those
/// for another host than this machine's loopback names and addresses or the one that the API was
/// bound by, which a page may have led here (DNS rebinding). [`control`](fn@control) allows more
/// hosts.
///
/// # What clients can take
/// 64 connections and 16 profiles at a time. A connection beyond makes room by ending the one that
/// has waited longest for its client. A client has 10 s to send a request, 60 s until its next one,
/// and 30 s to read on in an answer. What was ended or refused is counted in `/api/v1/status` and
/// `/metrics`, by cause.
///
/// # Errors
/// [`Error::Io`] if the address can't be had, and [`Error::Refused`] for one that other machines can reach: what
/// the API shows is not for everyone.
pub fn serve(addr: impl Address) -> Result<Server, Error> {
    control().serve(addr)
}
