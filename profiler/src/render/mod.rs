//! Profiles in the formats that others read. Only this module knows them.

mod changed;
mod differential;
mod firefox;
mod flamegraph;
mod folded;
mod frame_name;
pub(crate) mod pprof;
mod rows;
mod speedscope;
mod top;
mod units;

pub use top::TopSort;

#[cfg(test)]
mod tests;
