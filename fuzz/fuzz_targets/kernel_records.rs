//! The ring in which the kernel writes its call chains: `cargo +nightly fuzz run -s none kernel_records`
//!
//! Without a sanitizer: theirs and jemalloc, which the profiler links, both want to be `malloc`.
#![no_main]

use std::sync::atomic::AtomicU64;

use libfuzzer_sys::fuzz_target;
use stagelight_profiler::fuzzing::kernel_records::{Chain, MOST, read};

fuzz_target!(|input: (u64, u16, u64, Vec<u64>)| {
    let (from, length, random, words) = input;
    let words: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
    for from in [from, from & !7, 0] {
        for length in [u64::from(length), u64::from(length) & !7, size_of_val(&words[..]) as u64] {
            let mut chain = Chain::new();
            let found = read(&words, from, from.wrapping_add(length), || random, &mut chain);
            assert!(found.samples <= words.len() as u64 && chain.frames().len() <= MOST);
            assert!(chain.frames().iter().all(|frame| *frame >= 0xffff_7fff_ffff_ffff));
        }
    }
});
