//! The thread that empties the ring while a profile runs, and sums up samples that are alike.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::handler::{self, Recorder};
use super::ring::{Ring, Sample};
use super::rung::Rung;
use crate::profile::Raw;
use crate::unwind;

/// Between two looks. The ring holds several times what is sampled meanwhile.
const INTERVAL: Duration = Duration::from_millis(20);

/// What a session gathered.
#[derive(Default)]
pub(super) struct Gathered {
    stacks: HashMap<Box<[u64]>, u32>,
    /// Samples and nanoseconds by stack and context.
    sums: HashMap<(u32, (u32, u32)), [i64; 2]>,
    pub(super) complete: u64,
}

/// How the drain ended.
pub(super) struct Drained {
    pub(super) gathered: Gathered,
    /// `None` if a handler never came back.
    pub(super) recorder: Option<Box<Recorder>>,
    pub(super) threads_missed: u64,
}

/// Drains until told to stop or left alone.
pub(super) fn run(mut rung: Rung, stop: &Receiver<()>) -> Drained {
    let mut gathered = Gathered::default();
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(INTERVAL) {
        unwind::refresh();
        rung.tend();
        handler::with_armed(|recorder| gathered.take_all(&recorder.ring));
    }
    let threads_missed = rung.threads_missed();
    drop(rung);
    let recorder = handler::disarm();
    if let Some(recorder) = &recorder {
        gathered.take_all(&recorder.ring);
    }
    Drained { gathered, recorder, threads_missed }
}

impl Gathered {
    fn take_all(&mut self, ring: &Ring) {
        while ring.pop(|sample| self.add(sample)) {}
    }

    fn add(&mut self, sample: &Sample) {
        let frames = &sample.frames[..sample.depth];
        let next = self.stacks.len() as u32;
        let stack = match self.stacks.get(frames) {
            Some(&stack) => stack,
            None => *self.stacks.entry(frames.into()).or_insert(next),
        };
        let [samples, ns] = self.sums.entry((stack, sample.context)).or_default();
        *samples += 1;
        *ns += sample.weight as i64;
        self.complete += u64::from(sample.complete);
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
