//! What is remembered of a query that was kept.

use std::time::{Duration, SystemTime};

use crate::record::labels::LabelKind;
use crate::record::spans::Value;

/// A query that was kept, with its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Its id.
    pub trace_id: u128,
    /// The span elsewhere that the query belongs to, if it was told of one.
    pub parent_id: Option<u64>,
    /// The query's labels, in the order of [`LabelKind::ALL`]; empty where unsaid.
    pub labels: [&'static str; LabelKind::ALL.len()],
    /// Whether it was kept by the choice at its start, for being slow, for having failed: at least
    /// one holds.
    pub kept: Kept,
    /// The query's own span first, then those below it in the order in which they began: of a query
    /// with more than some 500 the longest, and those that failed before those that did not.
    pub spans: Vec<Span>,
    /// Spans that were left out for being short.
    pub omitted: u64,
}

/// Why a trace was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// It was chosen at its start.
    pub head: bool,
    /// It took longer than the threshold, or than nearly all queries of its statement.
    pub slow: bool,
    /// It failed, panicked or was cancelled, or a stage or a query in it did.
    pub failed: bool,
}

/// One execution of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its id.
    pub id: u64,
    /// The span that it lies in; `None` for the query's own.
    pub parent: Option<u64>,
    /// The stage's name.
    pub name: &'static str,
    /// The stage's component.
    pub component: &'static str,
    /// Of a query's own span its labels, in the order of [`LabelKind::ALL`]: whichever statement of
    /// a transaction it is.
    pub query: Option<[&'static str; LabelKind::ALL.len()]>,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Whether it returned an `Err`.
    pub failed: bool,
    /// What its error says, cut to 240 bytes, if [texts are
    /// wanted](crate::CollectorBuilder::error_texts) and the error can be shown.
    pub error: Option<Box<str>>,
    /// Bytes that were allocated within it.
    pub alloc_bytes: u64,
    /// What was recorded on it, in order.
    pub attributes: Vec<(&'static str, Value)>,
    /// What happened in it, in order.
    pub events: Vec<Event>,
}

/// Something that happened in a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub name: &'static str,
    /// When.
    pub at: SystemTime,
    /// What belongs to it.
    pub attributes: Vec<(&'static str, Value)>,
}

impl Trace {
    /// How long the query took.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.spans.first().map_or(Duration::ZERO, |root| root.duration)
    }

    /// When it ended.
    pub(crate) fn end(&self) -> SystemTime {
        let root = self.spans.first();
        root.and_then(|root| root.start.checked_add(root.duration)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let of = |span: &Span| {
            let attributes = span.events.iter().map(|event| event.attributes.len()).sum::<usize>();
            size_of::<Span>()
                + size_of_val(&*span.events)
                + span.error.as_ref().map_or(0, |error| error.len())
                + (span.attributes.len() + attributes) * size_of::<(&str, Value)>()
        };
        size_of::<Self>() + self.spans.iter().map(of).sum::<usize>()
    }
}
