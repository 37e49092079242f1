//! Walks the calling thread's stack by the unwind tables that every binary carries, so that stock release
//! builds without frame pointers give whole stacks. Used within signal handlers and within the allocator:
//! nothing here allocates, locks or calls anything that is not async-signal-safe, but for `refresh`.

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
mod walk;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use {
    published::{bytes, refresh},
    walk::{End, Registers, thread_hint, walk},
};
