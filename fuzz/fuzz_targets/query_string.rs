//! The query string of the control API: `cargo +nightly fuzz run -s none query_string`
//!
//! Without a sanitizer: theirs and jemalloc, which the profiler links, both want to be `malloc`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stagelight_profiler::fuzzing::params;

fuzz_target!(|query: &str| {
    let _ = params::HEAP.parse(query);
    if let Err(sentence) = params::MODE.parse(query) {
        assert!(sentence.len() < 400 && sentence.lines().count() == 1, "{sentence:?}");
    }
    match params::CPU.parse(query) {
        Ok(params) => assert!(params.hz.is_none_or(|hz| (1..5000).contains(&hz)) && params.by.len() <= 13),
        Err(sentence) => assert!(sentence.len() < 400 && sentence.lines().count() == 1, "{sentence:?}"),
    }
});
