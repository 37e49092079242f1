//! Traces of the records in the threads' rings.

use std::time::{Duration, SystemTime};

use super::trace::{Event, Kept, Span, Trace};
use crate::record::block::Block;
use crate::record::error_text;
use crate::record::labels::{LabelKind, label_set};
use crate::record::spans::{
    self, ATTRIBUTE, DEPTH_SHIFT, ERROR, EVENT, FAILED, HEAD, NUMBER_SHIFT, Record, SLOW, SPAN, Value,
};
use crate::record::stage::stage_by_id;

/// A trace of the records that its threads wrote, children before their parents.
pub(super) fn assemble(block: &Block, now: (SystemTime, u64), head: &Record, records: &[Record]) -> Trace {
    let when = |ticks: u64| {
        let ago = Duration::from_nanos(block.to_ns(now.1.saturating_sub(ticks)));
        now.0.checked_sub(ago).unwrap_or(now.0)
    };
    let depth_of = |record: &Record| (record[0] >> DEPTH_SHIFT) as u8;
    let root_id = head[3];
    let (mut spans, mut depths) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
    // What was noted at a depth belongs to the span at that depth that ends next.
    let mut attributes: Vec<(u8, (&'static str, Value))> = Vec::new();
    let mut events: Vec<(u8, Event)> = Vec::new();
    let mut errors: Vec<(u8, Vec<u8>)> = Vec::new();
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
                    query: (record[4] != 0).then(|| labels(record[4] as u32 - 1)),
                    start: when(record[1]),
                    duration: Duration::from_nanos(record[2]),
                    failed: record[0] & FAILED != 0,
                    error: text(errors.extract_if(.., |(at, _)| *at >= inside).flat_map(|(_, part)| part)),
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
            ERROR => errors.push((depth_of(record), error_text::bytes(record).collect())),
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
        labels: labels((head[0] >> NUMBER_SHIFT) as u32),
        kept: Kept { head: head[0] & HEAD != 0, slow: head[0] & SLOW != 0, failed: head[0] & FAILED != 0 },
        spans,
        omitted: head[5],
    }
}

fn text(bytes: impl Iterator<Item = u8>) -> Option<Box<str>> {
    let bytes: Vec<u8> = bytes.collect();
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into())
}

fn labels(set: u32) -> [&'static str; LabelKind::ALL.len()] {
    LabelKind::ALL.map(|kind| label_set(set).get(kind))
}

/// Gives the spans, which stand children first, their ids and parents, and turns their order.
fn link(root_id: u64, spans: &mut [Span], depths: &mut [u8]) {
    spans.reverse();
    depths.reverse();
    // Now each span stands before those that lie in it, the latest of which comes first.
    let mut open: Vec<(u8, SystemTime, u64)> = Vec::new();
    for (n, (span, depth)) in spans.iter_mut().zip(depths.iter()).enumerate() {
        span.id = if n == 0 { root_id } else { spans::span_id(root_id, n as u64) };
        // Where the span that it lay in was left out, one that began later is no parent, however
        // deep it lies.
        while open.len() > 1
            && open.last().is_some_and(|(outer, began, _)| outer >= depth || *began > span.start)
        {
            open.pop();
        }
        span.parent = open.last().map(|(.., id)| *id);
        open.push((*depth, span.start, span.id));
    }
    if let Some((_, rest)) = spans.split_first_mut() {
        rest.sort_by_key(|span| span.start);
    }
}
