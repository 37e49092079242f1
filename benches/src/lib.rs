//! Benches of every claim, and what they share; `BENCHMARKS.md` holds the results.

pub mod cpu_time;
pub mod harness;
pub mod memory;
pub mod parts;
pub mod report;
pub mod sizes;
