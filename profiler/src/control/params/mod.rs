//! What a request asks for, from its query string. Everything here comes from outside.
//!
//! Each path has a table of what it takes. A new parameter is a row there and a field for its value: all else, such as the
//! refusal of unknown and repeated ones, is the tables' own (`table.rs`).

mod duration;
mod heap;
mod mode;
mod nearest;
mod profile;
mod queries;
mod table;
mod traces;

pub use heap::{HEAP, HeapParams};
pub use mode::{MODE, ModeParams};
pub use profile::{CPU, FIGURES, Format, KEPT, Params, TIMED, WALL};
pub use queries::{QUERIES, QueriesParams};
pub use table::Parameters;
pub(super) use table::short;
pub use traces::{TRACES, TracesParams};

/// Of paths that take nothing.
pub static NONE: Parameters<()> = Parameters::any(&[]);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn anything_is_read_or_refused(query in any::<String>()) {
            let _ = NONE.parse(&query);
            let _ = MODE.parse(&query);
            let _ = HEAP.parse(&query);
            let _ = QUERIES.parse(&query);
            let _ = TRACES.parse(&query);
        }
    }
}
