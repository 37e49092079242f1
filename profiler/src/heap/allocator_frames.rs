//! Takes the allocator's own frames off the stacks, so that they end where the program asked for memory.

use crate::profile::{Location, Profile};

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

/// By the function that the address lies in: what was inlined into it has a bare name, and is the allocator's if it is.
fn is_allocators(location: &Location) -> bool {
    location.frames.last().is_some_and(|frame| {
        let name = frame.function.as_str();
        NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    })
}

/// Trims all stacks of a profile. A stack of nothing else keeps its outermost frame.
pub(super) fn trim(profile: &mut Profile) {
    let trimmed: Vec<bool> = profile.locations.iter().map(is_allocators).collect();
    for sample in profile.all_samples() {
        let inner = sample.stack.iter().take_while(|&&location| trimmed[location as usize]).count();
        let keep_from = inner.min(sample.stack.len().saturating_sub(1));
        sample.stack.drain(..keep_from);
    }
}
