//! The thread that empties the ring while a profile runs, and sums up samples that are alike.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::handler;
use super::ring::{Ring, Sample};
use super::rung::Rung;
use crate::profile::Raw;
use crate::unwind;

/// Between two looks. The ring holds several times what is sampled meanwhile.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks at the ring between two looks at the threads and the loaded objects.
const LOOKS: u32 = 5;

/// Frames of different stacks that a profile keeps, 8 MiB. Samples of further stacks count by their labels alone.
const MAX_FRAMES: usize = 1 << 20;

/// What a session gathered.
#[derive(Default)]
pub(super) struct Gathered {
    stacks: HashMap<Box<[u64]>, u32>,
    frames: usize,
    /// Samples and nanoseconds by stack and context.
    sums: HashMap<(u32, (u32, u32)), [i64; 2]>,
    pub(super) complete: u64,
    /// Samples whose stack was not kept.
    pub(super) stack_cap: u64,
    /// Threads that could not be given a trigger.
    pub(super) threads_missed: u64,
}

/// Drains until told to stop or left alone.
pub(super) fn run(mut rung: Rung, stop: &Receiver<()>) -> Gathered {
    let mut gathered = Gathered::default();
    let mut look = 0;
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(INTERVAL) {
        look = (look + 1) % LOOKS;
        if look == 0 {
            unwind::refresh();
            rung.tend();
        }
        handler::with_armed(|recorder| gathered.take_all(&recorder.ring));
    }
    gathered.threads_missed = rung.threads_missed();
    drop(rung);
    handler::disarm(|recorder| gathered.take_all(&recorder.ring));
    gathered
}

impl Gathered {
    fn take_all(&mut self, ring: &Ring) {
        while ring.pop(|sample| self.add(sample)) {}
    }

    fn add(&mut self, sample: &Sample) {
        let stack = self.stack(&sample.frames[..sample.depth]);
        let [samples, ns] = self.sums.entry((stack, sample.context)).or_default();
        *samples += 1;
        *ns += sample.weight as i64;
        self.complete += u64::from(sample.complete);
    }

    /// The number of a stack; that of the empty one if there is no room for it.
    fn stack(&mut self, frames: &[u64]) -> u32 {
        if let Some(&stack) = self.stacks.get(frames) {
            return stack;
        }
        let next = self.stacks.len() as u32;
        if frames.is_empty() || self.frames + frames.len() <= MAX_FRAMES {
            self.frames += frames.len();
            return *self.stacks.entry(frames.into()).or_insert(next);
        }
        self.stack_cap += 1;
        self.stack(&[])
    }

    /// The sums, with their stacks.
    pub(super) fn into_raw(self) -> Vec<Raw> {
        let mut stacks: Vec<_> = self.stacks.into_iter().collect();
        stacks.sort_by_key(|&(_, number)| number);
        let raw = |((stack, context), values): ((u32, _), _)| Raw {
            stack: stacks[stack as usize].0.clone(),
            context,
            values,
        };
        self.sums.into_iter().map(raw).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::ring::MAX_FRAMES as DEPTH;

    #[test]
    fn stacks_beyond_the_cap_keep_their_time_and_their_labels() {
        let mut gathered = Gathered::default();
        let samples = (MAX_FRAMES / DEPTH) as u64 + 10;
        let mut sample =
            Sample { context: (1, 2), weight: 3, complete: true, depth: DEPTH, frames: [7; DEPTH] };
        for number in 0..samples {
            sample.frames[0] = number;
            gathered.add(&sample);
        }
        assert_eq!(gathered.stack_cap, 10);
        let raw = gathered.into_raw();
        assert_eq!(raw.iter().map(|raw| raw.values[1]).sum::<i64>(), 3 * samples as i64);
        let without: Vec<_> = raw.iter().filter(|raw| raw.stack.is_empty()).collect();
        assert_eq!((without.len(), without[0].values, without[0].context), (1, [10, 30], (1, 2)));
    }
}
