//! The guards that the macros put around a stage's or a query's body.
//!
//! What a guard must remember of a call that is not timed fits one word; what a timed one needs beside it stands in a
//! [`Frame`] of the caller's, which an untimed call leaves untouched.

mod query;
mod stage;
#[cfg(test)]
mod tests;

pub(crate) use query::EnteredQuery;
pub use query::{QueryFrame, QueryGuard, enter_query, rows};
pub(crate) use stage::Entered;
pub use stage::{Frame, StageGuard, enter};
