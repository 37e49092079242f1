//! PLACEHOLDER

#[cfg(feature = "control")]
mod control;
mod cpu;
mod error;
#[cfg(feature = "heap")]
pub mod heap;
mod metrics;
mod overhead;
mod profile;
mod render;
mod symbolize;
mod unwind;

#[cfg(feature = "control")]
pub use control::{Server, serve};
pub use cpu::{CpuBuilder, CpuSession, cpu};
pub use error::Error;
#[cfg(feature = "heap")]
pub use heap::{HeapBuilder, HeapSession, heap};
pub use metrics::write_metrics;
pub use overhead::{Overhead, overhead};
pub use profile::{LABELS, Profile, ProfileStats};
