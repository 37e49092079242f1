//! jemalloc's heap dump: `cargo +nightly fuzz run -s none heap_dump`
//!
//! Without a sanitizer: theirs and jemalloc, which the profiler links, both want to be `malloc`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stagelight_profiler::fuzzing::dump;

fuzz_target!(|text: &[u8]| {
    check(text);
    // Behind a header, so that the search need not find one first.
    check(&[b"heap_v2/524288\n", text].concat());
});

fn check(text: &[u8]) {
    let _ = dump::read(text, |stack, interval| {
        let [objects, bytes] = dump::unbias(stack, interval);
        assert!(objects >= 0 || stack.objects > i64::MAX as u64, "{stack:?}");
        assert!(bytes >= 0 || stack.bytes > i64::MAX as u64, "{stack:?}");
    });
}
