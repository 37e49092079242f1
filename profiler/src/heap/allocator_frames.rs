//! Takes the allocator's own frames off the stacks, so that they end where the program asked for memory.

use crate::profile::{Location, Profile};
use crate::symbolize::Frame;

/// Beginnings of the names of functions that stand between the program and the sampling.
const PREFIXES: &[&str] = &[
    "stagelight_profiler::heap::",
    "<stagelight_profiler::heap::",
    "stagelight_profiler::unwind::",
    "tikv_jemallocator::",
    "<tikv_jemallocator::",
    "prof_",
    "_rjem_",
    "je_",
    "imalloc",
    "iralloc",
    "ialloc",
    "arena_",
    "large_",
    "tcache_",
    "do_rallocx",
    "__rust_",
    "__rdl_",
    "__rg_",
    "__rustc::",
    "__rustc[",
    "alloc::alloc::",
    "<alloc::alloc::Global",
];

/// Whole names.
const NAMES: &[&str] = &[
    "malloc",
    "calloc",
    "realloc",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "valloc",
    "mallocx",
    "rallocx",
    "operator new(unsigned long)",
];

/// Parts of the paths of files whose functions, where they were inlined into the program's, stand there too.
const FILES: &[&str] = &["/library/alloc/src/alloc.rs", "/tikv-jemallocator-"];

/// By the function that the address lies in: what was inlined into it is the allocator's if it is.
fn is_allocators(location: &Location) -> bool {
    location.frames.last().is_some_and(|frame| {
        let name = frame.function.as_str();
        NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

/// By the file, for the name may be bare; but a program's own file has the name that the compiler gives its global allocator.
fn is_inlined_allocators(frame: &Frame) -> bool {
    let own = file!().trim_end_matches("allocator_frames.rs");
    let file = frame.file.as_str();
    let name = frame.function.rsplit("::").next().unwrap_or_default();
    name.starts_with("__rust_") || file.contains(own) || FILES.iter().any(|part| file.contains(part))
}

/// Trims all stacks of a profile. A stack of nothing else keeps its outermost frame.
pub(super) fn trim(profile: &mut Profile) {
    let trimmed: Vec<bool> = profile.locations.iter().map(is_allocators).collect();
    for sample in profile.all_samples() {
        let inner = sample.stack.iter().take_while(|&&location| trimmed[location as usize]).count();
        let keep_from = inner.min(sample.stack.len().saturating_sub(1));
        sample.stack.drain(..keep_from);
    }
    for location in &mut profile.locations {
        let inner = location.frames.iter().take_while(|frame| is_inlined_allocators(frame)).count();
        location.frames.drain(..inner.min(location.frames.len().saturating_sub(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str) -> Frame {
        Frame { file: file.into(), line: 1, ..Frame::named(function) }
    }

    #[test]
    fn what_was_inlined_of_the_allocator_goes_and_what_the_program_wrote_stays() {
        let crates = "/home/.cargo/registry/src/index";
        let std = "/rustc/5980/library/alloc/src";
        let inlined = [
            frame("alloc", &format!("{crates}/tikv-jemallocator-0.7.0/src/lib.rs")),
            frame("__rust_alloc", "/home/service/src/main.rs"),
            frame("__rustc::__rust_realloc", "/home/service/src/main.rs"),
            frame("alloc_impl", &format!("{std}/alloc.rs")),
            frame("alloc", &format!("{}any/sampler.rs", file!().trim_end_matches("allocator_frames.rs"))),
        ];
        let kept = [
            frame("with_capacity_in<u8, alloc::alloc::Global>", &format!("{std}/raw_vec/mod.rs")),
            frame("alloc", "/home/service/src/arena.rs"),
            frame("", ""),
        ];
        for frame in &inlined {
            assert!(is_inlined_allocators(frame), "{frame:?}");
        }
        for frame in &kept {
            assert!(!is_inlined_allocators(frame), "{frame:?}");
        }
    }
}
