//! jemalloc's heap dump: `cargo +nightly fuzz run heap_dump`
#![no_main]

use libfuzzer_sys::fuzz_target;
use stagelight_profiler::fuzzing::dump;

fuzz_target!(|text: &str| {
    if let Ok(dump) = dump::parse(text) {
        for stack in &dump.stacks {
            let [objects, bytes] = dump::unbias(stack, dump.interval);
            assert!(objects >= 0 || stack.objects > i64::MAX as u64, "{stack:?}");
            assert!(bytes >= 0 || stack.bytes > i64::MAX as u64, "{stack:?}");
        }
    }
});
