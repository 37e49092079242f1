//! tracing: a span a call in the bare registry, with no layer that would do anything with it.

use crate::body::body;

pub fn set_up() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry())
        .expect("nothing else sets a subscriber");
}

#[inline(never)]
#[tracing::instrument]
pub fn call(value: u64) -> u64 {
    body!(value)
}
