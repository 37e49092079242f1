//! The parts, and what runs them.

mod child;
mod eintr;
mod floor;
mod kernel;
mod labels;
mod load;
mod resources;
mod stacks;
mod svg;
mod throughput;
mod walks;
mod weights;

use std::process::ExitCode;

use stagelight_benches::parts::{self, Part};

const PARTS: [Part; 9] = [
    ("resources", resources::measure),
    ("walks", walks::measure),
    ("stacks", stacks::measure),
    ("kernel", kernel::measure),
    ("labels", labels::measure),
    ("eintr", eintr::measure),
    ("weights", weights::measure),
    ("svg", svg::measure),
    ("throughput", throughput::measure),
];

/// Runs what the arguments ask for.
pub fn main() -> ExitCode {
    parts::main("cpu", &PARTS, child::run)
}
