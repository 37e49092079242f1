//! Finished traces: the spans of the queries that were kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::snapshot::label_sets;
use crate::record::block::Block;
use crate::record::labels::{LabelKind, label_set};
use crate::record::octaves::COARSE;
use crate::record::registry;
use crate::record::spans::{
    self, ATTRIBUTE, DEPTH_SHIFT, EVENT, FAILED, HEAD, NUMBER_SHIFT, Record, SLOW, SPAN, TRACE, Value,
};
use crate::record::stage::stage_by_id;

use super::histogram::Histogram;

/// A query that was kept, with its spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Its id.
    pub trace_id: u128,
    /// The span elsewhere that the query belongs to, if it was told of one.
    pub parent_id: Option<u64>,
    /// The query's labels, in the order of [`LabelKind::ALL`]; empty where unsaid.
    pub labels: [&'static str; LabelKind::ALL.len()],
    /// Whether it was kept by the choice at its start, for being slow, for having failed: at least one holds.
    pub kept: Kept,
    /// The query's own span first, then those below it in the order in which they began.
    pub spans: Vec<Span>,
}

/// Why a trace was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// It was chosen at its start.
    pub head: bool,
    /// It took longer than the threshold, or than nearly all queries of its statement.
    pub slow: bool,
    /// It failed or was cancelled.
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
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// Whether it returned an `Err`.
    pub failed: bool,
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

/// Which queries are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSettings {
    /// The share of the timed queries that is kept in any case; 0.1 unless told otherwise.
    pub head: f64,
    /// How long a query takes at least to be kept for being slow, whatever others of its statement take. `None`, which is
    /// the default, leaves it to the statement's own distribution: slow is what takes longer than 99 in 100 do.
    pub slow: Option<Duration>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { head: 0.1, slow: None }
    }
}

/// Traces that are remembered.
const REMEMBERED: usize = 256;

struct Traces {
    recent: VecDeque<Arc<Trace>>,
    /// Traces that arrived since the collector last handed them on.
    fresh: Vec<Arc<Trace>>,
}

/// Traces that were forgotten before they were handed on. Apart from the lock, so that a snapshot needs none that a thread
/// may have held when it forked the process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Its lock also makes the collector the one reader of the threads' rings.
static TRACES: Mutex<Traces> = Mutex::new(Traces { recent: VecDeque::new(), fresh: Vec::new() });

/// The latest traces, the newest first: at most 256. None if no [collector](crate::collector) takes traces.
#[must_use]
pub fn recent_traces() -> Vec<Arc<Trace>> {
    TRACES.lock().unwrap_or_else(PoisonError::into_inner).recent.iter().rev().cloned().collect()
}

/// Traces and spans that were refused because rings were full, or forgotten before they were handed on.
pub(crate) fn refused() -> (u64, u64) {
    let spans = registry::blocks().iter().map(|block| block.spans.refused.get()).sum();
    (spans, DROPPED.load(Ordering::Relaxed))
}

/// Follows queries from now on.
pub(crate) fn start(settings: TraceSettings) {
    spans::follow(Some(settings.head));
}

/// Follows no more queries, and forgets.
pub(crate) fn stop() {
    spans::follow(None);
    let mut traces = TRACES.lock().unwrap_or_else(PoisonError::into_inner);
    traces.recent.clear();
    traces.fresh.clear();
}

/// Takes what the threads have published. Often enough that their rings don't fill.
pub(crate) fn gather() {
    let mut traces = TRACES.lock().unwrap_or_else(PoisonError::into_inner);
    for block in registry::blocks() {
        // Two clocks at one moment, to tell when things were.
        let now = (SystemTime::now(), block.ticks());
        let mut pending: Vec<Record> = Vec::new();
        block.spans.drain(|record| {
            if record[0] & 0xff != TRACE {
                pending.push(record);
                return;
            }
            let trace = Arc::new(assemble(block, now, &record, &pending));
            pending.clear();
            if traces.recent.len() == REMEMBERED {
                traces.recent.pop_front();
            }
            traces.recent.push_back(Arc::clone(&trace));
            if traces.fresh.len() < REMEMBERED {
                traces.fresh.push(trace);
            } else {
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// The traces since the last call.
pub(crate) fn take_fresh() -> Vec<Arc<Trace>> {
    std::mem::take(&mut TRACES.lock().unwrap_or_else(PoisonError::into_inner).fresh)
}

/// Sets from when on a query is slow, by the distribution of each label set.
pub(crate) fn set_thresholds(settings: TraceSettings) {
    /// Queries that must have been timed before their distribution is one.
    const ENOUGH: u64 = 200;
    for (set, figures) in label_sets().into_iter().enumerate() {
        let ns = match settings.slow {
            Some(slow) => u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX),
            None if figures.timed < ENOUGH => u64::MAX,
            None => {
                let all = Histogram::new(COARSE, figures.cells, figures.calls, figures.timed, figures.max_ns);
                // By the upper end of the cell, so that what lies in the same cell as the quantile is not slow.
                all.quantile(0.99).saturating_add(all.quantile(0.99) / 8)
            }
        };
        spans::set_slow(set, ns);
    }
}

/// A trace of the records that its threads wrote, children before their parents.
fn assemble(block: &Block, now: (SystemTime, u64), head: &Record, records: &[Record]) -> Trace {
    let when = |ticks: u64| {
        let ago = Duration::from_nanos(block.to_ns(now.1.saturating_sub(ticks)));
        now.0.checked_sub(ago).unwrap_or(now.0)
    };
    let depth_of = |record: &Record| (record[0] >> DEPTH_SHIFT) as u8;
    let root_id = head[3];
    let (mut spans, mut depths): (Vec<Span>, Vec<u8>) = (Vec::new(), Vec::new());
    // What was noted at a depth belongs to the span at that depth that ends next.
    let mut attributes: Vec<(u8, (&'static str, Value))> = Vec::new();
    let mut events: Vec<(u8, Event)> = Vec::new();
    for record in records {
        match record[0] & 0xff {
            SPAN => {
                let depth = depth_of(record);
                let (component, name) = stage_by_id((record[0] >> NUMBER_SHIFT) as u32);
                // The path was one longer while the stage was on it.
                let inside = depth.saturating_add(1);
                spans.push(Span {
                    id: 0,
                    parent: None,
                    name,
                    component,
                    start: when(record[1]),
                    duration: Duration::from_nanos(record[2]),
                    failed: record[0] & FAILED != 0,
                    alloc_bytes: record[3],
                    attributes: attributes.extract_if(.., |(at, _)| *at >= inside).map(|(_, a)| a).collect(),
                    events: events.extract_if(.., |(at, _)| *at >= inside).map(|(_, e)| e).collect(),
                });
                depths.push(depth);
            }
            EVENT => {
                // SAFETY: the words are those of a text that lives for ever, as `event` wrote them.
                let name = unsafe { spans::text([record[2], record[3]]) };
                events.push((depth_of(record), Event { name, at: when(record[1]), attributes: Vec::new() }));
            }
            ATTRIBUTE => {
                // SAFETY: the words are a text and a value, as `push_attribute` wrote them.
                let attribute = unsafe {
                    let value = Value::decode(record[0] >> NUMBER_SHIFT, [record[3], record[4]]);
                    (spans::text([record[1], record[2]]), value)
                };
                match events.last_mut().filter(|_| record[0] & HEAD != 0) {
                    Some((_, event)) => event.attributes.push(attribute),
                    None => attributes.push((depth_of(record), attribute)),
                }
            }
            _ => {}
        }
    }
    link(root_id, &mut spans, &mut depths);
    Trace {
        trace_id: u128::from(head[1]) << 64 | u128::from(head[2]),
        parent_id: (head[4] != 0).then_some(head[4]),
        labels: LabelKind::ALL.map(|kind| label_set((head[0] >> NUMBER_SHIFT) as u32).get(kind)),
        kept: Kept { head: head[0] & HEAD != 0, slow: head[0] & SLOW != 0, failed: head[0] & FAILED != 0 },
        spans,
    }
}

/// Gives the spans, which stand children first, their ids and parents, and turns their order.
fn link(root_id: u64, spans: &mut [Span], depths: &mut [u8]) {
    spans.reverse();
    depths.reverse();
    // Now each span stands before those that lie in it, the latest of which comes first.
    let mut open: Vec<(u8, u64)> = Vec::new();
    for (n, (span, depth)) in spans.iter_mut().zip(depths.iter()).enumerate() {
        span.id = if n == 0 { root_id } else { spans::span_id(root_id, n as u64) };
        while open.len() > 1 && open.last().is_some_and(|(outer, _)| outer >= depth) {
            open.pop();
        }
        span.parent = open.last().map(|(_, id)| *id);
        open.push((*depth, span.id));
    }
    if let Some((_, rest)) = spans.split_first_mut() {
        rest.sort_by_key(|span| span.start);
    }
}
