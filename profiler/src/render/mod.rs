//! Profiles in the formats that others read. Only this module knows them.

mod flamegraph;
mod folded;
mod pprof;
