//! The thread that empties the ring while a profile runs, and sums up samples that are alike.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::Counter;
use super::ring::{Ring, Sample};
use super::rung::Trigger;
use super::{What, handler, tasks};
use crate::clock;
use crate::profile::{Context, KERNEL_NOT_PERMITTED, Raw};
use crate::stopped::{self, Watch};
use crate::unwind;

/// Between two looks at the threads and the loaded objects.
const TEND: Duration = stopped::LOOK;

/// Looks at the ring in that time. The ring holds several times what is sampled between two; below this rate one will do.
const LOOKS: u32 = 5;
const SLOW_HZ: u32 = 50;

/// Asks for what was gathered since the last time.
pub(super) struct Cut(pub(super) Sender<Gathered>);

/// Frames of different stacks that a profile keeps, 8 MiB. Samples of further stacks count by their labels alone.
const MAX_FRAMES: usize = 1 << 20;

/// Different stacks and contexts that a profile keeps, 16 MiB. Of further samples thread and trace are left out.
const MAX_SUMS: usize = 1 << 17;

/// What a session gathered.
#[derive(Default)]
pub(super) struct Gathered {
    /// Whether samples can't fall into the kernel: of its part of a sample nothing is known then but
    /// the labels.
    blind_to_kernel: bool,
    stacks: HashMap<Box<[u64]>, u32>,
    frames: usize,
    /// Events and nanoseconds by stack and context.
    sums: HashMap<(u32, Context), [i64; 2]>,
    pub(super) complete: u64,
    /// Samples whose stack was not kept.
    pub(super) stack_cap: u64,
    /// Samples without their thread and trace.
    pub(super) context_cap: u64,
    /// Threads that could not be given a trigger.
    pub(super) threads_missed: u64,
    /// What the trigger could not do else, by cause.
    pub(super) dropped: Vec<(&'static str, u64)>,
    /// When sampling ended, and the process's CPU time by then; `None` if it never began.
    pub(super) end: Option<(Instant, u64)>,
    /// Threads that blocked the rung's signal at the end.
    pub(super) signal_blocked: u64,
    /// For how long the process did not run.
    pub(super) stopped: Duration,
    /// What else there is to say.
    pub(super) notes: Vec<String>,
    /// What counters stood at, if there were some.
    pub(super) counters: Vec<Counter>,
}

/// Drains until nobody can ask any more.
pub(super) fn run(mut rung: Box<dyn Trigger>, what: What, asks: &Receiver<Cut>) -> Gathered {
    let new =
        |rung: &dyn Trigger| Gathered { blind_to_kernel: rung.blind_to_kernel(), ..Gathered::default() };
    let mut gathered = new(&*rung);
    let looks = if matches!(what, What::Cpu { hz: ..SLOW_HZ, .. }) { 1 } else { LOOKS };
    let mut look = 0;
    let mut watch = Watch::new();
    loop {
        let (due, since) = (TEND / looks, Instant::now());
        let asked = asks.recv_timeout(due);
        watch.waited(due, since.elapsed());
        match asked {
            Ok(Cut(reply)) => {
                gathered.stopped = watch.take();
                handler::with_armed(|recorder| gathered.take_all(&recorder.ring));
                (gathered.threads_missed, gathered.dropped) = (rung.threads_missed(), rung.dropped());
                // Who asked may have gone.
                let _ = reply.send(std::mem::replace(&mut gathered, new(&*rung)));
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                look = (look + 1) % looks;
                if look == 0 {
                    watch.look();
                    unwind::refresh();
                    rung.tend();
                    handler::with_armed(handler::Recorder::learn);
                }
                handler::with_armed(|recorder| gathered.take_all(&recorder.ring));
            }
        }
    }
    let notes = rung.end(&mut |sample| gathered.add(sample));
    gathered.notes = notes;
    gathered.stopped = watch.take();
    gathered.counters = rung.counters();
    (gathered.threads_missed, gathered.dropped) = (rung.threads_missed(), rung.dropped());
    let signal = rung.signal();
    drop(rung);
    gathered.end = Some((Instant::now(), clock::process_cpu_ns().unwrap_or(0)));
    gathered.signal_blocked = tasks::blocking(signal, TEND / LOOKS);
    handler::disarm(|recorder| gathered.take_all(&recorder.ring));
    gathered
}

impl Gathered {
    fn take_all(&mut self, ring: &Ring) {
        while ring.pop(|sample| self.add(sample)) {}
    }

    fn add(&mut self, sample: &Sample) {
        let frames = &sample.frames[..sample.depth];
        let (own, kernel) = (&frames[sample.kernel_frames.min(frames.len())..], sample.kernel);
        let within = if self.blind_to_kernel { &[KERNEL_NOT_PERMITTED][..] } else { frames };
        let parts = [(own, sample.weight - kernel.min(sample.weight)), (within, kernel)];
        // The sample itself counts where most of it is; one that weighs nothing is the thread's.
        let most = usize::from(parts[1].1 > parts[0].1);
        for (part, (frames, ns)) in parts.into_iter().enumerate() {
            let count = if part == most { sample.count as i64 } else { 0 };
            if count != 0 || ns != 0 {
                let stack = self.stack(frames);
                self.sum(stack, sample.context, [count, ns as i64]);
            }
        }
        self.complete += u64::from(sample.complete);
    }

    fn sum(&mut self, stack: u32, mut context: Context, values: [i64; 2]) {
        if self.sums.len() >= MAX_SUMS && !self.sums.contains_key(&(stack, context)) {
            (context.thread, context.trace) = Default::default();
            self.context_cap += 1;
        }
        let sum = self.sums.entry((stack, context)).or_default();
        sum[0] += values[0];
        sum[1] += values[1];
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

    /// The sums, with their stacks. Of traces those are named that were kept.
    pub(super) fn into_raw(self) -> Vec<Raw> {
        let mut stacks: Vec<_> = self.stacks.into_iter().collect();
        stacks.sort_by_key(|&(_, number)| number);
        let kept: HashSet<u128> = stagelight::recent_traces().iter().map(|trace| trace.trace_id).collect();
        let mut sums: HashMap<(u32, Context), [i64; 2]> = HashMap::new();
        for ((stack, mut context), values) in self.sums {
            let [high, low] = context.trace;
            if !kept.contains(&(u128::from(high) << 64 | u128::from(low))) {
                context.trace = [0, 0];
            }
            let sum = sums.entry((stack, context)).or_default();
            sum[0] += values[0];
            sum[1] += values[1];
        }
        let raw = |((stack, context), values): ((u32, _), _)| Raw {
            stack: stacks[stack as usize].0.clone(),
            context,
            values,
        };
        sums.into_iter().map(raw).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::ring::MAX_FRAMES as DEPTH;
    use crate::profile::KERNEL;

    #[test]
    fn stacks_beyond_the_cap_keep_their_time_and_their_labels() {
        let mut gathered = Gathered::default();
        let samples = (MAX_FRAMES / DEPTH) as u64 + 10;
        let mut sample = Sample {
            context: Context::of((1, 2)),
            count: 1,
            weight: 3,
            kernel: 0,
            kernel_frames: 0,
            complete: true,
            depth: DEPTH,
            frames: [7; DEPTH],
        };
        for number in 0..samples {
            sample.frames[0] = number;
            gathered.add(&sample);
        }
        assert_eq!(gathered.stack_cap, 10);
        let raw = gathered.into_raw();
        assert_eq!(raw.iter().map(|raw| raw.values[1]).sum::<i64>(), 3 * samples as i64);
        let without: Vec<_> = raw.iter().filter(|raw| raw.stack.is_empty()).collect();
        assert_eq!(
            (without.len(), without[0].values, without[0].context),
            (1, [10, 30], Context::of((1, 2)))
        );
    }

    #[test]
    fn the_kernels_part_of_a_sample_has_frames_of_its_own() {
        let mut sample = Sample {
            context: Context::of((1, 2)),
            count: 1,
            weight: 30,
            kernel: 20,
            kernel_frames: 1,
            complete: true,
            depth: 2,
            frames: [7; DEPTH],
        };
        sample.frames[0] = KERNEL;
        for (blind_to_kernel, expected) in [
            (false, vec![(vec![7], [1, 15]), (vec![KERNEL, 7], [1, 20])]),
            (true, vec![(vec![7], [1, 15]), (vec![KERNEL_NOT_PERMITTED], [1, 20])]),
        ] {
            let mut gathered = Gathered { blind_to_kernel, ..Gathered::default() };
            (sample.weight, sample.kernel) = (30, 20);
            gathered.add(&sample);
            (sample.weight, sample.kernel) = (5, 0);
            gathered.add(&sample);
            let mut raw: Vec<_> =
                gathered.into_raw().iter().map(|raw| (raw.stack.to_vec(), raw.values)).collect();
            raw.sort_unstable();
            assert_eq!(raw, expected);
        }
    }
}
