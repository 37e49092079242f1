//! The slow path: reads what the threads recorded, and never makes one of them wait.
//!
//! Nothing here imports from `export`.

mod account;
pub(crate) mod active;
pub(crate) mod assemble;
pub(crate) mod collector;
pub(crate) mod cpu_time;
pub(crate) mod governor;
#[cfg(feature = "hdrhistogram")]
pub(crate) mod hdr;
pub(crate) mod histogram;
pub(crate) mod history;
pub(crate) mod label_fallback;
pub(crate) mod overhead;
pub(crate) mod own_threads;
#[cfg(feature = "prometheus")]
pub(crate) mod process;
pub(crate) mod punctuality;
pub(crate) mod queries;
pub(crate) mod query_cpu;
pub(crate) mod snapshot;
pub(crate) mod thread_state;
pub(crate) mod trace;
pub(crate) mod trace_filter;
pub(crate) mod trace_losses;
pub(crate) mod trace_shelves;
pub(crate) mod traces;
pub(crate) mod window;
