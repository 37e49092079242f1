//! Who has an entry while the caps are reached: heavy newcomers take those of values that do next to nothing.
//!
//! Whoever reads the label sets' figures looks first whether someone knocks (`newcomers`) that surely made [`HEAVY`] calls.
//! It gets the entry of the value that has fewest, if those are less than half its own. Calls of both fade alike, by half in
//! [`HALF_LIFE`], so that what was heavy is heavy for long and not for ever. A value that queries run under at this
//! instant is left alone.
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::block::{Block, LabelFigures};
use super::interner::{self, Interner, OTHER_VALUE, ValueId, ValueIds};
use super::labels::{KINDS, LabelSet};
use super::newcomers::{self, Newcomer, Newcomers, SAMPLED};

/// Calls without which no newcomer gets an entry: so many samples that it can't be by chance.
const HEAVY: f64 = (8 * SAMPLED) as f64;

/// In what time calls come to be worth half.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// Entries that change hands at one look at most, so that it takes no longer than a millisecond or so.
const AT_ONCE: usize = 32;

static TURNOVER: LazyLock<Mutex<Turnover>> = LazyLock::new(Mutex::default);

/// Values that lost their entries so far.
static LOST: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
struct Turnover {
    /// When a look was last taken.
    looked: Option<Instant>,
    /// Calls by number of the set at that time.
    before: Vec<u64>,
    /// All calls so far, faded, by kind and value.
    calls: [Vec<f64>; KINDS],
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
    /// How often each value has lost its entry, those alone that ever did: where one did between
    /// two readings, its figures began anew.
    pub(crate) losses: [HashMap<&'static str, u32>; KINDS],
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

/// How many values have lost their entries to heavier ones so far; one that came again may do so again.
pub(crate) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
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
    calls: f64,
}

/// What a look goes by.
struct Look<'a> {
    sums: &'a [LabelFigures],
    /// All calls, faded.
    all: f64,
    /// The values that queries run under at this instant, by kind.
    busy: [Vec<bool>; KINDS],
}

impl Turnover {
    fn look(&mut self, sums: &[LabelFigures], blocks: &[&Block]) {
        let mut newcomers = newcomers::lock();
        let returning = self.losses.iter().any(|losses| !losses.is_empty());
        if newcomers.calls < HEAVY && !returning {
            return;
        }
        // Nobody who records waits for this lock but at the first sight of labels, or as a sample of those in `other`.
        let mut interner = interner::lock();
        newcomers.fade(self.fade());
        self.count(&interner, sums);
        let candidates = self.candidates(&newcomers, &interner);
        if candidates.is_empty() {
            return;
        }
        // Each query has one value of each kind.
        let all = self.calls[0].iter().sum();
        let look = Look { sums, all, busy: busy(&interner, sums.len(), blocks) };
        for candidate in candidates.into_iter().take(AT_ONCE) {
            if self.admit(&mut interner, &candidate, &look) {
                newcomers.forget(candidate.kind, &candidate.newcomer);
            }
        }
    }

    /// Lets the calls fade for the time since the last look; gives what part of them is left.
    fn fade(&mut self) -> f64 {
        let now = Instant::now();
        let elapsed = self.looked.replace(now).map_or(Duration::ZERO, |looked| now - looked);
        let part = (-elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
        self.calls.iter_mut().flatten().for_each(|calls| *calls *= part);
        part
    }

    /// Adds the calls since the last look.
    fn count(&mut self, interner: &Interner, sums: &[LabelFigures]) {
        for (kind, calls) in self.calls.iter_mut().enumerate() {
            calls.resize(interner.values(kind).count(), 0.0);
        }
        for (number, (ids, sum)) in interner.sets().iter().zip(sums).enumerate() {
            let before = self.before.get(number).copied().unwrap_or(0);
            for (kind, &id) in ids.iter().enumerate() {
                self.calls[kind][usize::from(id)] += sum.calls.wrapping_sub(before) as f64;
            }
        }
        self.before = sums.iter().map(|sum| sum.calls).collect();
    }

    /// Those that surely made enough calls, heaviest first.
    fn candidates(&self, newcomers: &Newcomers, interner: &Interner) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let sketches = newcomers.values.iter().enumerate().map(|(kind, sketch)| (Some(kind), sketch));
        for (kind, sketch) in sketches.chain([(None, &newcomers.sets)]) {
            let heavy = sketch.counters().iter().filter(|counter| counter.earned() >= HEAVY);
            candidates.extend(heavy.map(|counter| Candidate {
                kind,
                newcomer: counter.newcomer.clone(),
                calls: counter.earned(),
            }));
        }
        // Values without an entry that queries still name by a number: of labels interned once, before they lost it.
        for (kind, calls) in self.calls.iter().enumerate() {
            for ((text, kept), &calls) in interner.values(kind).zip(calls) {
                if !kept && calls >= HEAVY {
                    let newcomer = Newcomer { text: text.into(), ids: [OTHER_VALUE; KINDS] };
                    candidates.push(Candidate { kind: Some(kind), newcomer, calls });
                }
            }
        }
        candidates.sort_by(|one, other| other.calls.total_cmp(&one.calls));
        candidates
    }

    /// Gives the candidate an entry, and what it needs, if that is to be had for its calls. Whether it is done with.
    fn admit(&mut self, interner: &mut Interner, candidate: &Candidate, look: &Look<'_>) -> bool {
        let left = interner.late_left() as f64;
        let worth_a_number = left > 0.0 && candidate.calls >= look.all / left;
        let Candidate { kind, newcomer, calls } = candidate;
        let Some(kind) = *kind else {
            // A set that has lost a value meanwhile is another set.
            let is_the_same = interner.meaning(newcomer.ids) == newcomer.ids;
            if is_the_same && worth_a_number {
                interner.add_late(newcomer.ids);
            }
            return worth_a_number || !is_the_same;
        };
        let (has_entry, known) = interner.value(kind, &newcomer.text);
        if has_entry {
            return true;
        }
        if known.is_none() && !worth_a_number {
            return false;
        }
        if interner.is_full(kind) {
            let Some(victim) = self.idlest(interner, kind, calls / 2.0, &look.busy[kind]) else {
                return false;
            };
            self.drop_value(interner, kind, victim);
        }
        if let Some(id) = known {
            self.carry(interner, kind, id, look.sums);
        }
        let id = interner.keep(kind, &newcomer.text);
        interner.publish(kind, id);
        // What it made as a newcomer is its own, so that it is not the next to go.
        let of_kind = &mut self.calls[kind];
        of_kind.resize(of_kind.len().max(usize::from(id) + 1), 0.0);
        of_kind[usize::from(id)] = *calls;
        if worth_a_number {
            // A value that the set had may have lost its entry in this very look.
            let mut ids = interner.meaning(newcomer.ids);
            ids[kind] = id;
            interner.add_late(ids);
        }
        true
    }

    /// The value with the fewest calls that has an entry, if it has no more than that many.
    fn idlest(&self, interner: &Interner, kind: usize, most: f64, busy: &[bool]) -> Option<ValueId> {
        interner
            .values(kind)
            .zip(&self.calls[kind])
            .enumerate()
            .skip(usize::from(OTHER_VALUE) + 1)
            .filter(|&(id, ((_, kept), &calls))| {
                kept && calls <= most && !busy.get(id).copied().unwrap_or(false)
            })
            .min_by(|(_, (_, one)), (_, (_, other))| one.total_cmp(other))
            .map(|(id, _)| id as ValueId)
    }

    /// A value loses its entry: rules 1 and 3.
    fn drop_value(&mut self, interner: &mut Interner, kind: usize, id: ValueId) {
        interner.drop_value(kind, id);
        interner.publish(kind, id);
        if let Some((text, _)) = interner.values(kind).nth(usize::from(id)) {
            *self.losses[kind].entry(text).or_default() += 1;
        }
        LOST.fetch_add(1, Ordering::Relaxed);
        // To get it again it must become heavy anew.
        self.calls[kind][usize::from(id)] = 0.0;
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
    sum.cells.add(&more.cells);
    each(sum, more, u64::wrapping_add);
}

/// What came after an earlier state. The longest stays that of all time.
fn subtract(sum: &mut LabelFigures, earlier: &LabelFigures) {
    sum.cells = sum.cells.since(&earlier.cells, u64::wrapping_sub);
    each(sum, earlier, u64::wrapping_sub);
}

fn each(sum: &mut LabelFigures, other: &LabelFigures, op: impl Fn(u64, u64) -> u64) {
    let LabelFigures {
        calls,
        errors,
        self_ns,
        nested_ns,
        max_ns: _,
        allocated,
        timed,
        stages,
        rows,
        cells: _,
    } = other;
    for (sum, other) in [
        (&mut sum.calls, calls),
        (&mut sum.errors, errors),
        (&mut sum.self_ns, self_ns),
        (&mut sum.nested_ns, nested_ns),
        (&mut sum.allocated, allocated),
        (&mut sum.timed, timed),
        (&mut sum.stages, stages),
        (&mut sum.rows, rows),
    ] {
        *sum = op(*sum, *other);
    }
}
