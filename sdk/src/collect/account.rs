//! How the time of threads parts into states, from looks at some of them.
//!
//! A thread that has not run since it was last seen to wait waits in the same call, so its CPU clock
//! tells its state. One that has run is read anew, which costs more: some such threads at each look,
//! in turn, stand for the others.
//!
//! What a look finds runnable may be on a core or wait for one. Of what it is found runnable, a thread
//! was on a core as large a part as its CPU clock went on, on average. And so that the sums are what
//! the clock says, each thread has a balance of CPU time that no look has shown yet, which may grow to
//! what a look or two stand for.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::thread_state::{self, ThreadState};

/// By how much what looks find of a thread may differ from what its CPU clock says, in times of what a
/// look at it stands for.
const SLACK: f32 = 1.5;

/// Looks over which a thread's averages are taken.
const AVERAGED: f32 = 64.0;

/// A look at threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    /// Its number.
    pub(super) look: u64,
}

/// What is known of a thread.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// When its CPU time was this.
    seen: Now,
    cpu_ns: u64,
    state: ThreadState,
    /// CPU time that no look has shown, in looks. Below zero where they came to more.
    owed: f32,
    average: Average,
}

/// What a thread does on average.
#[derive(Clone, Copy, Debug, Default)]
struct Average {
    looks: f32,
    /// The part of the time that it was on a core, and that of the looks that found it runnable.
    on_core: f32,
    runnable: f32,
}

impl Average {
    fn add(&mut self, on_core: f32, runnable: bool) {
        self.looks = (self.looks + 1.0).min(AVERAGED);
        self.on_core += (on_core - self.on_core) / self.looks;
        self.runnable += (f32::from(u8::from(runnable)) - self.runnable) / self.looks;
    }

    /// Of what it is found runnable, the part that it is on a core.
    fn part(&self) -> f32 {
        if self.runnable > 0.0 { (self.on_core / self.runnable).min(1.0) } else { 1.0 }
    }
}

/// Threads of which each stands for some.
#[derive(Debug)]
pub(super) struct Group<'a, P> {
    /// Their ids, and where each is.
    pub(super) threads: &'a [(u32, P)],
    /// For how many each stands.
    pub(super) weight: f32,
    /// How many of those that have run are read. If none, each counts as what it was read as last,
    /// and is read if it never was.
    pub(super) reads: usize,
    /// Which of these is read first; of the next look the one after the last.
    pub(super) turn: &'a mut usize,
}

/// One part of what the threads of a look do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<P> {
    /// Where, as the caller said.
    pub(super) place: P,
    pub(super) state: ThreadState,
    /// Threads.
    pub(super) amount: f32,
}

/// What is known of the threads.
#[derive(Debug, Default)]
pub(super) struct Account(HashMap<u32, Known>);

impl Account {
    /// What a group's threads do.
    pub(super) fn take<P: Copy>(&mut self, now: Now, group: Group<'_, P>, mut part: impl FnMut(Part<P>)) {
        let Group { threads, weight, reads, turn } = group;
        let mut ran = Vec::new();
        for &(thread, place) in threads {
            let Some(cpu_ns) = thread_state::cpu_ns(thread) else { continue };
            match self.0.get_mut(&thread) {
                Some(known) if known.state.waits() && known.cpu_ns == cpu_ns => {
                    known.seen = now;
                    part(Part { place, state: known.state, amount: weight });
                }
                _ => ran.push((thread, place, cpu_ns)),
            }
        }
        if reads == 0 {
            for (thread, place, cpu_ns) in ran {
                let state =
                    self.0.get(&thread).map_or_else(|| thread_state::now(thread), |known| known.state);
                for (state, share) in self.note(now, thread, (cpu_ns, state), weight) {
                    if share > 0.0 {
                        part(Part { place, state, amount: weight * share });
                    }
                }
            }
            return;
        }
        let reads = reads.min(ran.len());
        let weight = weight * ran.len() as f32 / reads as f32;
        for nth in 0..reads {
            let (thread, place, cpu_ns) = ran[turn.wrapping_add(nth) % ran.len()];
            let state = thread_state::now(thread);
            for (state, share) in self.note(now, thread, (cpu_ns, state), weight) {
                if share > 0.0 {
                    part(Part { place, state, amount: weight * share });
                }
            }
        }
        *turn = turn.wrapping_add(reads);
    }

    /// The states that a thread which ran was in, and the share of each. `weight` is how many threads,
    /// or looks at this one, that stands for.
    fn note(
        &mut self,
        now: Now,
        thread: u32,
        (cpu_ns, state): (u64, ThreadState),
        weight: f32,
    ) -> [(ThreadState, f32); 2] {
        let runnable = state == ThreadState::Running;
        let mut known = match self.0.get(&thread) {
            Some(&known) => {
                let elapsed = now.at.duration_since(known.seen.at).as_nanos().max(1) as f32;
                let on_core = (cpu_ns.saturating_sub(known.cpu_ns) as f32 / elapsed).min(1.0);
                let Known { mut average, mut owed, .. } = known;
                average.add(on_core, runnable);
                owed += on_core * (now.look - known.seen.look) as f32;
                Known { seen: now, cpu_ns, state, owed, average }
            }
            // Of what it did before nothing is known.
            None => Known { seen: now, cpu_ns, state, owed: 0.0, average: Average::default() },
        };
        let part = if runnable { known.average.part() } else { 0.0 };
        let (least, most) = (known.owed / weight - SLACK, known.owed / weight + SLACK);
        let running = part.clamp(least, most).clamp(0.0, 1.0);
        known.owed -= running * weight;
        self.0.insert(thread, known);
        let rest = if runnable { ThreadState::Runnable } else { state };
        [(ThreadState::Running, running), (rest, 1.0 - running)]
    }

    /// Forgets the threads that have ended.
    pub(super) fn keep(&mut self, alive: &HashSet<u32>) {
        self.0.retain(|thread, _| alive.contains(thread));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Looks at a thread that is found on a core, or able to, as often as `found` says, and that used
    /// `cpu` of the time. Its states, on average.
    fn run(found: impl Fn(u64) -> bool, cpu: f64, every: u64) -> HashMap<ThreadState, f64> {
        const LOOKS: u64 = 10_000;
        let start = Instant::now();
        let (mut account, mut sums) = (Account::default(), HashMap::new());
        for look in (0..LOOKS).step_by(every as usize) {
            let ns = look * 50_000_000;
            let now = Now { at: start + Duration::from_nanos(ns), look };
            let state = if found(look) { ThreadState::Running } else { ThreadState::Sleep };
            for (state, share) in account.note(now, 1, ((ns as f64 * cpu) as u64, state), every as f32) {
                *sums.entry(state).or_insert(0.0) += f64::from(share) * every as f64 / LOOKS as f64;
            }
        }
        sums
    }

    #[test]
    fn running_is_what_the_cpu_clock_says_and_the_rest_is_told() {
        let found =
            |share: u64| move |look: u64| look.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 127 < share;
        for every in [1, 7] {
            for (share, cpu, runnable) in
                [(128, 1.0, 0.0), (128, 0.3, 0.7), (64, 0.5, 0.0), (64, 0.2, 0.3), (0, 0.0, 0.0)]
            {
                let sums = run(found(share), cpu, every);
                let of = |state| sums.get(&state).copied().unwrap_or(0.0);
                assert!((of(ThreadState::Running) - cpu).abs() < 0.01, "{share}, {cpu}: {sums:?}");
                assert!((of(ThreadState::Runnable) - runnable).abs() < 0.05, "{share}, {cpu}: {sums:?}");
                assert!((sums.values().sum::<f64>() - 1.0).abs() < 0.01, "{share}, {cpu}: {sums:?}");
            }
        }
    }
}
