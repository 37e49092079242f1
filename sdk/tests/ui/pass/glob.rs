//! A glob import of the crate hides no other crate's name.
#![deny(warnings)]

use stagelight::*;

#[stage]
fn counts() -> u64 {
    metrics::counter!("calls_total").increment(1);
    1
}

fn main() {
    assert_eq!(counts(), 1);
}
