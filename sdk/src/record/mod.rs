//! The fast path: what runs at the edges of every stage, on the thread that runs the stage.
//!
//! Nothing here locks, makes a system call, panics or allocates once a thread has touched a stage, and
//! nothing reads, modifies and writes memory that another thread writes. The `#[cold]` functions are the
//! first touches: a thread's first stage, a stage's first call, a label set's first sight, an octave's
//! first value.
//!
//! Nothing here imports from `collect` or `export`.

pub(crate) mod block;
pub(crate) mod cells;
pub(crate) mod clock;
pub(crate) mod context;
pub(crate) mod counts;
pub(crate) mod durations;
pub(crate) mod error_text;
pub(crate) mod expansion;
pub(crate) mod fallback;
pub(crate) mod fork;
pub(crate) mod future;
pub(crate) mod glob;
pub(crate) mod guard;
pub(crate) mod interner;
pub(crate) mod label_kind;
pub(crate) mod label_value;
pub(crate) mod labels;
pub(crate) mod lines;
pub(crate) mod newcomers;
pub(crate) mod observer;
pub(crate) mod octaves;
pub(crate) mod outcome;
pub(crate) mod pulled;
pub(crate) mod rates;
pub(crate) mod registry;
pub(crate) mod span_record;
pub(crate) mod span_room;
pub(crate) mod spans;
pub(crate) mod stage;
pub(crate) mod thread;
pub(crate) mod thread_stack;
pub(crate) mod trace_context;
pub(crate) mod turnover;
