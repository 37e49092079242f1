//! The parts, and what runs them.

mod bytes;
mod child;
mod dump;
mod holders;
mod locks;
mod pairs;
mod truth;

use std::process::ExitCode;

use stagelight_benches::parts::{self, Part};

const PARTS: [Part; 6] = [
    ("pairs", pairs::measure),
    ("bytes", bytes::measure),
    ("truth", truth::measure),
    ("dump", dump::measure),
    ("locks", locks::measure),
    ("holders", holders::measure),
];

/// Runs what the arguments ask for.
pub fn main() -> ExitCode {
    parts::main("heap", &PARTS, child::run)
}
