//! Sums of sampled allocations, bounded.

use std::collections::HashMap;
use std::time::Duration;

use super::estimate;
use super::live::Sums;
use super::pseudo_frame;

/// Frames of different stacks that are kept, 8 MiB. Samples of further stacks count by their labels alone.
const MAX_FRAMES: usize = 1 << 20;

/// What a window gathered.
pub(super) struct Tally {
    /// Average bytes between samples.
    interval: u64,
    /// Objects and bytes that the samples stand for, by stack with its pseudo-frame.
    sums: HashMap<Box<[u64]>, [f64; 2]>,
    frames: usize,
    pub(super) samples: u64,
    /// Those whose stack reaches the thread's start.
    pub(super) complete: u64,
    /// Those whose stack was not kept.
    pub(super) stack_cap: u64,
    /// Those that found the ring full.
    pub(super) ring_full: u64,
    /// For how long the process did not run.
    pub(super) stopped: Duration,
}

impl Tally {
    pub(super) fn new(interval: u64) -> Self {
        Self {
            interval,
            sums: HashMap::new(),
            frames: 0,
            samples: 0,
            complete: 0,
            stack_cap: 0,
            ring_full: 0,
            stopped: Duration::ZERO,
        }
    }

    /// Adds one sample, for all allocations of its size that it stands for.
    pub(super) fn add(&mut self, stack: &[u64], bytes: usize) {
        let (_, context) = pseudo_frame::split(stack);
        self.samples += 1;
        self.complete += u64::from(context.complete);
        let objects = estimate::stands_for(bytes as f64, self.interval);
        let sum = self.sum(stack);
        sum[0] += objects;
        sum[1] += objects * bytes as f64;
    }

    fn sum(&mut self, stack: &[u64]) -> &mut [f64; 2] {
        let mut stack = stack;
        if !self.sums.contains_key(stack) {
            if self.frames + stack.len() > MAX_FRAMES && stack.len() > 1 {
                self.stack_cap += 1;
                let (frames, _) = pseudo_frame::split(stack);
                stack = &stack[frames.len()..];
            }
            // Without its frames it is one of few.
            if !self.sums.contains_key(stack) {
                self.frames += stack.len();
                self.sums.insert(stack.into(), [0.0; 2]);
            }
        }
        self.sums.get_mut(stack).expect("it was put there")
    }

    /// The sums by stack and context.
    pub(super) fn into_sums(self) -> Sums {
        let mut sums = Sums::new();
        for (stack, values) in self.sums {
            let (frames, context) = pseudo_frame::split(&stack);
            let sum = sums.entry((frames.into(), context.context)).or_default();
            sum[0] += values[0].round() as i64;
            sum[1] += values[1].round() as i64;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::super::pseudo_frame::{Context, encode};
    use super::*;

    #[test]
    fn stacks_beyond_the_cap_keep_their_bytes_and_their_labels() {
        let context = |complete| encode(Context { context: (1, 2), complete });
        let mut tally = Tally::new(1 << 10);
        let large = 1 << 20;
        let mut stack = vec![7; 128];
        *stack.last_mut().unwrap() = context(true);
        let samples = (MAX_FRAMES / stack.len()) as u64 + 10;
        for number in 0..samples {
            stack[0] = number;
            tally.add(&stack, large);
        }
        *stack.last_mut().unwrap() = context(false);
        tally.add(&stack, large);
        assert_eq!((tally.samples, tally.complete, tally.stack_cap), (samples + 1, samples, 11));
        let sums = tally.into_sums();
        assert!(sums.keys().all(|(_, context)| *context == (1, 2)));
        assert_eq!(sums.values().map(|sum| sum[1]).sum::<i64>(), (samples as i64 + 1) * large as i64);
        let without: &[u64] = &[];
        assert_eq!(sums[&(without.into(), (1, 2))], [11, 11 * large as i64]);
    }

    #[test]
    fn small_objects_are_not_rounded_one_by_one() {
        let mut tally = Tally::new(1 << 10);
        for _ in 0..1000 {
            tally.add(&[1], 1 << 10);
        }
        let [objects, bytes] = tally.into_sums().into_values().next().unwrap();
        // 1 / (1 - 1/e) each.
        assert!((1581..=1583).contains(&objects) && (bytes / objects - 1024).abs() <= 1, "{objects} {bytes}");
    }
}
