//! prometheus: a timer of a labelled histogram, found by its labels at each call.

use std::sync::LazyLock;

use prometheus::{HistogramOpts, HistogramVec};

use crate::body::body;

static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let options = HistogramOpts::new("stage_seconds", "Time of a stage.");
    HistogramVec::new(options, &["stage", "tenant"]).expect("the options are valid")
});

#[inline(never)]
pub fn call(value: u64) -> u64 {
    let _timer = SECONDS.with_label_values(&["call", "acme"]).start_timer();
    body!(value)
}
