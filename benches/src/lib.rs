//! Benches of every claim, and what they share; `BENCHMARKS.md` holds the results.

pub mod cpu_time;
pub mod harness;
pub mod report;
