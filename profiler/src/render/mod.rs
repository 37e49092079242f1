//! Profiles in the formats that others read. Only this module knows them.

mod differential;
mod firefox;
mod flamegraph;
mod folded;
pub(crate) mod pprof;
mod speedscope;
mod top;
mod units;

#[cfg(test)]
mod tests;
