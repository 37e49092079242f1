//! Sampling on any allocator: a wrapper that counts each thread's allocated bytes and, at random, takes the stack of one
//! allocation in so many bytes.
//!
//! A sample is an allocation that can be told from others when it is freed, without a look at a table for each of these: it is
//! aligned to a page, which of small allocations few are, or it is large. Only such are looked up. So a release costs a
//! comparison or two, and what was sampled is recognised whether sampling goes on or not.

#[cfg(target_os = "linux")]
pub(super) mod activation;
#[cfg(target_os = "linux")]
mod fast;
#[cfg(not(target_os = "linux"))]
mod passed_on;
#[cfg(target_os = "linux")]
mod sample;
mod sampler;
#[cfg(target_os = "linux")]
mod slow;
#[cfg(target_os = "linux")]
mod stacks;
#[cfg(target_os = "linux")]
mod table;
#[cfg(all(test, target_os = "linux"))]
mod tests;
#[cfg(target_os = "linux")]
mod thread;

pub use sampler::Sampler;
