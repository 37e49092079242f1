//! fastrace: a span a call within a sampled trace, handed to a reporter that drops it.
//!
//! Much of a span's price is its part of the trace's root: with hundreds of spans a trace it falls to half or less.

use fastrace::collector::{Config, Reporter, SpanRecord};
use fastrace::prelude::{Span, SpanContext};

use super::{SPANS, per_root};
use crate::body::body;

struct Discard;

impl Reporter for Discard {
    fn report(&mut self, _: Vec<SpanRecord>) {}
}

pub fn set_up() {
    fastrace::set_reporter(Discard, Config::default());
}

/// Nanoseconds a span, its part of the trace's root included.
pub fn traces() -> f64 {
    per_root(|value| {
        let root = Span::root("select", SpanContext::random());
        let _parent = root.set_local_parent();
        (0..u64::from(SPANS)).map(|span| call(value + span)).sum()
    })
}

#[inline(never)]
#[fastrace::trace]
fn call(value: u64) -> u64 {
    body!(value)
}
