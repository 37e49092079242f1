//! jemalloc's heap dump: `cargo +nightly fuzz run -s none heap_dump`
//!
//! Without a sanitizer: theirs and jemalloc, which the profiler links, both want to be `malloc`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stagelight_profiler::fuzzing::dump;

fuzz_target!(|text: &str| {
    check(text);
    // Behind a header, so that the search need not find one first.
    check(&format!("heap_v2/524288\n{text}"));
});

fn check(text: &str) {
    if let Ok(dump) = dump::parse(text) {
        for stack in &dump.stacks {
            let [objects, bytes] = dump::unbias(stack, dump.interval);
            assert!(objects >= 0 || stack.objects > i64::MAX as u64, "{stack:?}");
            assert!(bytes >= 0 || stack.bytes > i64::MAX as u64, "{stack:?}");
        }
    }
}
