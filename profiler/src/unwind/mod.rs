//! Walks the calling thread's stack by the unwind tables that every binary carries, so that stock release
//! builds without frame pointers give whole stacks. Used within signal handlers and within the allocator:
//! nothing here allocates, locks or calls anything that is not async-signal-safe, but for `refresh`.

/// The "address" at the outer end of a stack that is deeper than there was room for.
pub(crate) const TOO_DEEP: u64 = u64::MAX - 3;

/// The "address" at the outer end of a stack from which no table led on.
pub(crate) const NOT_UNWOUND: u64 = u64::MAX - 4;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod caches;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod modules;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod published;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod stack;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) mod timed;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod trail;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod walk;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use {
    published::{bytes, refresh},
    walk::{End, Registers, thread_hint, walk, walk_copy},
};
