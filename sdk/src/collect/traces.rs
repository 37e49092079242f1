//! Finished traces: taken from the threads' rings, remembered, and handed on.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::assemble::assemble;
use super::snapshot::LabelStats;
use super::trace::Trace;
use super::trace_filter::TraceFilter;
use super::trace_losses::{self, Loss};
use super::trace_shelves::Shelves;
use crate::record::error_text;
use crate::record::labels::{LabelKind, label_set};
use crate::record::spans::{self, FAILED, NUMBER_SHIFT, Record, SLOW, TRACE};
use crate::record::{interner, registry};

/// Which queries are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSettings {
    /// The share of the timed queries that is kept in any case, as far as there is room; 0.1 unless
    /// told otherwise. Those beyond are counted (`traces_thinned`): others like them are kept, a
    /// hundred a second.
    pub head: f64,
    /// How long a query takes at least to be kept for being slow, whatever others of its statement
    /// take. `None`, which is the default, leaves it to the statement's own distribution: slow is
    /// what takes longer than 99 in 100 do. Once 32 slow ones of a statement are remembered, slow
    /// is what takes longer than those do.
    pub slow: Option<Duration>,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { head: 0.1, slow: None }
    }
}

/// Bytes of the traces that wait to be handed on: of chosen queries, and of slow and failed ones.
const FRESH_BYTES: [usize; 2] = [512 << 10, 1 << 20];

struct Traces {
    shelves: Shelves,
    /// Traces that arrived since the collector last handed them on, and their bytes.
    fresh: Vec<Arc<Trace>>,
    fresh_bytes: [usize; 2],
    /// Chosen traces that may be taken at once, and since when there is that room.
    chosen_room: f64,
    since: Instant,
    /// Whose ring is read first.
    turn: usize,
}

/// Chosen traces that are taken at once, and a second: what is remembered of them is no more, and
/// each takes some microseconds.
const CHOSEN_AT_ONCE: f64 = 512.0;
const CHOSEN_A_SECOND: f64 = 100.0;

/// Its lock also makes the collector the one reader of the threads' rings.
static TRACES: LazyLock<Mutex<Traces>> = LazyLock::new(|| {
    Mutex::new(Traces {
        shelves: Shelves::new(),
        fresh: Vec::new(),
        fresh_bytes: [0; 2],
        chosen_room: CHOSEN_AT_ONCE,
        since: Instant::now(),
        turn: 0,
    })
});

fn lock() -> MutexGuard<'static, Traces> {
    TRACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The traces that are remembered, the latest first: of each statement the latest that failed and
/// that were chosen, and the slowest of the last minutes, in 4 MiB. None if no
/// [collector](crate::collector) takes traces.
#[must_use]
pub fn recent_traces() -> Vec<Arc<Trace>> {
    lock().shelves.all()
}

/// Those of the remembered traces that have what the filter asks for, the latest first.
#[must_use]
pub fn find_traces(filter: &TraceFilter) -> Vec<Arc<Trace>> {
    recent_traces().into_iter().filter(|trace| filter.matches(trace)).take(filter.limit).collect()
}

/// Follows queries from now on.
pub(crate) fn start(settings: TraceSettings, error_texts: bool) {
    error_text::want(error_texts);
    spans::follow(Some(settings.head));
}

/// Follows no more queries, and forgets.
pub(crate) fn stop() {
    spans::follow(None);
    error_text::want(false);
    let mut traces = lock();
    traces.shelves.clear();
    traces.take_fresh();
}

/// Takes what the threads have published. Often enough that their rings don't fill. They are kept
/// to be handed on if anyone is there to take them.
pub(crate) fn gather(hand_on: bool) {
    let mut traces = lock();
    traces.refill();
    let mut pending: Vec<Record> = Vec::new();
    let mut blocks = registry::blocks();
    let first = traces.turn % blocks.len().max(1);
    blocks.rotate_left(first);
    traces.turn = traces.turn.wrapping_add(1);
    for block in blocks {
        // Two clocks at one moment, to tell when things were.
        let now = (SystemTime::now(), block.ticks());
        pending.clear();
        block.spans.drain(|record| {
            if record[0] & 0xff != TRACE {
                pending.push(record);
                return;
            }
            if record[0] & (SLOW | FAILED) == 0 && !traces.takes_chosen() {
                pending.clear();
                return;
            }
            let trace = assemble(block, now, &record, &pending);
            pending.clear();
            traces.add(Arc::new(trace), (record[0] >> NUMBER_SHIFT) as usize, hand_on);
        });
    }
}

impl Traces {
    fn refill(&mut self) {
        let now = Instant::now();
        let room = now.duration_since(self.since).as_secs_f64() * CHOSEN_A_SECOND;
        self.chosen_room = (self.chosen_room + room).min(CHOSEN_AT_ONCE);
        self.since = now;
    }

    /// Whether there is room for a chosen trace, which is counted if not.
    fn takes_chosen(&mut self) -> bool {
        if self.chosen_room < 1.0 {
            trace_losses::count(Loss::Chosen);
            return false;
        }
        self.chosen_room -= 1.0;
        true
    }

    /// `set` is the number of the query's labels.
    fn add(&mut self, trace: Arc<Trace>, set: usize, hand_on: bool) {
        self.shelves.put(Arc::clone(&trace));
        let kept = trace.kept;
        if kept.slow {
            // At once, and not at the window's end: else a hot statement fills the rings meanwhile.
            let [statement, ..] = trace.labels;
            spans::raise_slow(set, self.shelves.least_slow(statement));
        }
        if !hand_on {
            return;
        }
        let matters = kept.slow || kept.failed;
        let bytes = &mut self.fresh_bytes[usize::from(matters)];
        if *bytes < FRESH_BYTES[usize::from(matters)] {
            *bytes += trace.bytes();
            self.fresh.push(trace);
        } else {
            trace_losses::count(if matters { Loss::SlowOrFailed } else { Loss::Chosen });
        }
    }

    fn take_fresh(&mut self) -> Vec<Arc<Trace>> {
        self.fresh_bytes = [0; 2];
        std::mem::take(&mut self.fresh)
    }
}

/// The traces since the last call.
pub(crate) fn take_fresh() -> Vec<Arc<Trace>> {
    lock().take_fresh()
}

/// Sets from when on a query is slow, by the distribution of each statement so far.
pub(crate) fn set_thresholds(settings: TraceSettings, statements: &[LabelStats]) {
    /// Queries that must have been timed before their distribution is one.
    const ENOUGH: u64 = 200;
    let traces = lock();
    let threshold = |statement: &LabelStats| match settings.slow {
        Some(slow) => u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX),
        None if statement.timed < ENOUGH => u64::MAX,
        None => {
            let most = statement.histogram.quantile(0.99);
            // By the upper end of the cell, so that what lies in the same cell as the quantile is
            // not slow.
            most.saturating_add(most / 8)
        }
    };
    let slow: HashMap<&str, u64> = statements
        .iter()
        .map(|statement| {
            let value = statement.value.as_str();
            (value, threshold(statement).max(traces.shelves.least_slow(value)))
        })
        .collect();
    drop(traces);
    for set in 0..interner::count() {
        if let Some(&ns) = slow.get(label_set(set as u32).get(LabelKind::Statement)) {
            spans::set_slow(set, ns);
        }
    }
}
