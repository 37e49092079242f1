//! Async stages: the stage and its labels are on the thread during each poll and off it between polls.
//!
//! One wrapper holds the future once. While it is polled the thread's path ends in the stage and its clock runs for it; when
//! the poll ends both are given back to whatever the thread was in. A call is recorded when the future is done, or when it
//! is dropped before that, which counts as cancelled.

pub(crate) mod query;
pub(crate) mod stage;
#[cfg(test)]
mod tests;

pub use query::{QueryFuture, query_future};
pub use stage::{StageFuture, stage_future};
