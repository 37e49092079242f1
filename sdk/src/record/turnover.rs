//! Who has an entry while the caps are reached: heavy newcomers take those of values that do next to nothing.
//!
//! Whoever reads the label sets' figures looks first whether someone knocks (`newcomers`) that surely made [`HEAVY`] calls in
//! this period. It gets the entry of the value that has fewest calls, if those are less than half its own; a value counts
//! with its calls of this period, half those of the last, a quarter of those of the one before and so on, so that what was
//! heavy is heavy for long. A value that queries run under at this instant is left alone.
//!
//! Sets' numbers are never used for others, so there is an end to those for late ones; the fewer are left, the larger a part
//! of all calls a newcomer must have made: one of a hundred left is given for a hundredth of them. A value that comes
//! again needs none, since it finds its old ones.
//!
//! # Why figures stay exact and never fall
//! A number's figures only grow, and belong to whatever the number stands for at the time of reading. That changes but
//! here, under the lock that readers hold too:
//! 1. A value that loses its entry becomes `other` in all numbers that have it: its figures move there, no others move.
//! 2. When it gets an entry again, what its numbers counted so far is *carried* apart, as that of what they stood for until
//!    then, and only what comes after is the value's. So nothing moves.
//! 3. What is carried is never a value's again: it too becomes `other`, for good, where a value loses its entry.
//!
//! So each sum over a kind is the sum of all numbers' figures, `other` only grows, and a value that keeps its entry only
//! grows; one that got its entry anew starts from nothing, as after a restart.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::block::{Block, LabelFigures};
use super::interner::{self, Interner, OTHER_VALUE, ValueId, ValueIds};
use super::labels::{KINDS, LabelSet};
use super::newcomers::{self, Newcomer, Newcomers, SAMPLED};

/// Calls in a period without which no newcomer gets an entry: so many samples that it can't be by chance.
const HEAVY: u64 = 8 * SAMPLED;

/// A period ends after so many calls of newcomers, or with the first that gets an entry.
const PERIOD: u64 = 1 << 16;

/// Entries that change hands at one look at most, so that it takes no longer than a millisecond or so.
const AT_ONCE: usize = 32;

static TURNOVER: LazyLock<Mutex<Turnover>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Turnover {
    /// Calls by number of the set when the period began.
    before: Vec<u64>,
    /// What of the former periods' calls still counts, by kind and value.
    history: [Vec<u64>; KINDS],
    /// Figures of numbers that are carried apart: what remains is a value's that came again.
    carried_off: HashMap<u32, LabelFigures>,
    /// What is carried apart, by what it is figures of.
    carried: HashMap<ValueIds, LabelFigures>,
    /// How often each value has lost its entry, those alone that ever did.
    losses: [HashMap<&'static str, u32>; KINDS],
}

/// The figures of all label sets at one instant, by what they are figures of; some more than once.
pub(crate) struct Reading {
    pub(crate) sets: Vec<(&'static LabelSet, LabelFigures)>,
    losses: [HashMap<&'static str, u32>; KINDS],
}

impl Reading {
    /// How often a value has lost its entry: where it did between two readings, its figures began anew.
    pub(crate) fn losses(&self, kind: usize, value: &str) -> u32 {
        self.losses[kind].get(value).copied().unwrap_or(0)
    }
}

/// Reads the label sets' figures of all blocks, once heavy newcomers have got their entries.
pub(crate) fn read(blocks: &[&Block]) -> Reading {
    let mut turnover = lock();
    let mut sums = vec![LabelFigures::default(); interner::count()];
    for block in blocks {
        block.read_labels(&mut sums);
    }
    turnover.look(&sums, blocks);
    for (&number, carried) in &turnover.carried_off {
        if let Some(sum) = sums.get_mut(number as usize) {
            subtract(sum, carried);
        }
    }
    let sums = sums.into_iter().enumerate();
    let mut sets: Vec<_> = sums.map(|(number, sum)| (interner::set(number as u32), sum)).collect();
    if !turnover.carried.is_empty() {
        let mut interner = interner::lock();
        sets.extend(turnover.carried.iter().map(|(&ids, figures)| (interner.show(ids), figures.clone())));
    }
    Reading { sets, losses: turnover.losses.clone() }
}

fn lock() -> MutexGuard<'static, Turnover> {
    TURNOVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock, for as long as what it gives lives.
pub(crate) fn hold() -> Box<dyn Any> {
    Box::new(lock())
}

/// A value or a set that may get an entry.
struct Candidate {
    /// Of a value.
    kind: Option<usize>,
    newcomer: Newcomer,
    calls: u64,
}

impl Turnover {
    fn look(&mut self, sums: &[LabelFigures], blocks: &[&Block]) {
        let mut newcomers = newcomers::lock();
        let returning = self.losses.iter().any(|losses| !losses.is_empty());
        if newcomers.calls < HEAVY && !returning {
            return;
        }
        // Nobody who records waits for this lock but at the first sight of labels.
        let mut interner = interner::lock();
        let mut calls = self.calls(&interner, sums);
        let candidates = candidates(&newcomers, &interner, &calls);
        if candidates.is_empty() && newcomers.calls < PERIOD {
            return;
        }
        let all: u64 = (0..sums.len()).map(|number| self.since(number, sums)).sum();
        let busy = busy(&interner, sums.len(), blocks);
        for candidate in candidates.into_iter().take(AT_ONCE) {
            self.admit(&mut interner, candidate, all, sums, &mut calls, &busy);
        }
        newcomers.clear();
        self.begin_period(&calls, sums);
    }

    fn since(&self, number: usize, sums: &[LabelFigures]) -> u64 {
        sums[number].calls.saturating_sub(self.before.get(number).copied().unwrap_or(0))
    }

    /// The period's calls, by kind and value.
    fn calls(&self, interner: &Interner, sums: &[LabelFigures]) -> [Vec<u64>; KINDS] {
        let mut calls: [Vec<u64>; KINDS] = std::array::from_fn(|kind| vec![0; interner.values(kind).count()]);
        for (number, ids) in interner.sets().iter().enumerate().take(sums.len()) {
            for (kind, &id) in ids.iter().enumerate() {
                calls[kind][usize::from(id)] += self.since(number, sums);
            }
        }
        calls
    }

    /// Gives the candidate an entry, and what it needs, if that is to be had for its calls.
    fn admit(
        &mut self,
        interner: &mut Interner,
        candidate: Candidate,
        all: u64,
        sums: &[LabelFigures],
        calls: &mut [Vec<u64>; KINDS],
        busy: &[Vec<bool>; KINDS],
    ) {
        let left = interner.late_left() as u64;
        let worth_a_number = left > 0 && candidate.calls >= all / left;
        let ids = interner.meaning(candidate.newcomer.ids);
        let Some(kind) = candidate.kind else {
            // A set that has lost a value meanwhile is another set.
            if worth_a_number && ids == candidate.newcomer.ids {
                interner.add_late(ids);
            }
            return;
        };
        let (has_entry, known) = interner.value(kind, &candidate.newcomer.text);
        if has_entry || known.is_none() && !worth_a_number {
            return;
        }
        if interner.is_full(kind) {
            let Some(victim) = self.idlest(interner, kind, candidate.calls / 2, &calls[kind], &busy[kind])
            else {
                return;
            };
            self.drop_value(interner, kind, victim);
        }
        if let Some(id) = known {
            self.carry(interner, kind, id, sums);
        }
        let id = interner.keep(kind, &candidate.newcomer.text);
        interner.publish(kind, id);
        calls[kind].resize(calls[kind].len().max(usize::from(id) + 1), 0);
        // Its calls as a newcomer are its own, so that it is not the next to go.
        calls[kind][usize::from(id)] = candidate.calls;
        if worth_a_number {
            // A value that the set had may have lost its entry in this very look.
            let mut ids = interner.meaning(candidate.newcomer.ids);
            ids[kind] = id;
            interner.add_late(ids);
        }
    }

    /// The value with the fewest calls that has an entry, if it has no more than that many.
    fn idlest(
        &self,
        interner: &Interner,
        kind: usize,
        most: u64,
        calls: &[u64],
        busy: &[bool],
    ) -> Option<ValueId> {
        let history = |id: usize| self.history[kind].get(id).copied().unwrap_or(0);
        interner
            .values(kind)
            .enumerate()
            .skip(usize::from(OTHER_VALUE) + 1)
            .filter(|&(id, (_, kept))| kept && !busy.get(id).copied().unwrap_or(false))
            .map(|(id, _)| (history(id) + calls.get(id).copied().unwrap_or(0), id as ValueId))
            .min()
            .filter(|&(calls, _)| calls <= most)
            .map(|(_, id)| id)
    }

    /// A value loses its entry: rules 1 and 3.
    fn drop_value(&mut self, interner: &mut Interner, kind: usize, id: ValueId) {
        interner.drop_value(kind, id);
        interner.publish(kind, id);
        if let Some((text, _)) = interner.values(kind).nth(usize::from(id)) {
            *self.losses[kind].entry(text).or_default() += 1;
        }
        if let Some(history) = self.history[kind].get_mut(usize::from(id)) {
            *history = 0;
        }
        for (ids, figures) in std::mem::take(&mut self.carried) {
            add(self.carried.entry(interner.meaning(ids)).or_default(), &figures);
        }
    }

    /// A value is about to get its entry again: rule 2.
    fn carry(&mut self, interner: &Interner, kind: usize, id: ValueId, sums: &[LabelFigures]) {
        for (number, ids) in interner.sets().iter().enumerate().take(sums.len()) {
            if ids[kind] == id {
                let mut counted = sums[number].clone();
                if let Some(before) = self.carried_off.insert(number as u32, counted.clone()) {
                    subtract(&mut counted, &before);
                }
                add(self.carried.entry(interner.meaning(*ids)).or_default(), &counted);
            }
        }
    }

    fn begin_period(&mut self, calls: &[Vec<u64>; KINDS], sums: &[LabelFigures]) {
        for (history, calls) in self.history.iter_mut().zip(calls) {
            history.resize(calls.len(), 0);
            for (history, calls) in history.iter_mut().zip(calls) {
                *history = (*history + calls) / 2;
            }
        }
        self.before = sums.iter().map(|sum| sum.calls).collect();
    }
}

/// Those that surely made enough calls in the period, heaviest first.
fn candidates(newcomers: &Newcomers, interner: &Interner, calls: &[Vec<u64>; KINDS]) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let sketches = newcomers.values.iter().enumerate().map(|(kind, sketch)| (Some(kind), sketch));
    for (kind, sketch) in sketches.chain([(None, &newcomers.sets)]) {
        candidates.extend(
            sketch.counters().iter().filter(|counter| counter.earned() >= HEAVY).map(|counter| Candidate {
                kind,
                newcomer: counter.newcomer.clone(),
                calls: counter.earned(),
            }),
        );
    }
    // Values without an entry that queries still name by a number: of labels interned once, before they lost it.
    for (kind, calls) in calls.iter().enumerate() {
        for (id, (text, kept)) in interner.values(kind).enumerate() {
            if !kept && calls[id] >= HEAVY {
                let newcomer = Newcomer { text: text.into(), ids: [OTHER_VALUE; KINDS] };
                candidates.push(Candidate { kind: Some(kind), newcomer, calls: calls[id] });
            }
        }
    }
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.calls));
    candidates
}

/// The values that queries run under at this instant, by kind: those that began on a thread and those that wait.
fn busy(interner: &Interner, count: usize, blocks: &[&Block]) -> [Vec<bool>; KINDS] {
    let mut busy: [Vec<bool>; KINDS] = std::array::from_fn(|kind| vec![false; interner.values(kind).count()]);
    let mut live = vec![0; count];
    for block in blocks {
        block.read_live(&mut live);
        if let Some(live) = live.get_mut(block.labels() as usize) {
            *live = 1;
        }
    }
    for (ids, _) in interner.sets().iter().zip(live).filter(|&(_, live)| live != 0) {
        for (kind, &id) in ids.iter().enumerate() {
            busy[kind][usize::from(id)] = true;
        }
    }
    busy
}

/// Sums up. Counters wrap, as they do in the blocks.
fn add(sum: &mut LabelFigures, more: &LabelFigures) {
    sum.max_ns = sum.max_ns.max(more.max_ns);
    each(sum, more, u64::wrapping_add);
}

/// What came after an earlier state. The longest stays that of all time.
fn subtract(sum: &mut LabelFigures, earlier: &LabelFigures) {
    each(sum, earlier, u64::wrapping_sub);
}

fn each(sum: &mut LabelFigures, other: &LabelFigures, op: impl Fn(u64, u64) -> u64) {
    let LabelFigures { calls, errors, total_ns, max_ns: _, allocated, timed, stages, rows, cells } = other;
    for (sum, other) in [
        (&mut sum.calls, calls),
        (&mut sum.errors, errors),
        (&mut sum.total_ns, total_ns),
        (&mut sum.allocated, allocated),
        (&mut sum.timed, timed),
        (&mut sum.stages, stages),
        (&mut sum.rows, rows),
    ] {
        *sum = op(*sum, *other);
    }
    sum.cells.resize(sum.cells.len().max(cells.len()), 0);
    for (sum, other) in sum.cells.iter_mut().zip(cells) {
        *sum = op(*sum, *other);
    }
}
