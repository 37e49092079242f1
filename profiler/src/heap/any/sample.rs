//! A sample: what is kept of it while it lives.

use std::collections::HashMap;

use super::super::live::Found;
use super::super::{estimate, pseudo_frame, stack, told};
use super::stacks::Stacks;
use super::table::{Sample, Table};

/// Miri takes its time over large statics.
const SCALE: usize = if cfg!(miri) { 9 } else { 0 };

/// The live samples, about 114,000 of them at most. The memory is there once it is touched.
pub(super) static LIVE: Table<{ 1 << (13 - SCALE) }> = Table::new();

/// Their stacks.
static STACKS: Stacks<{ 1 << (16 - SCALE) }, { 1 << (18 - SCALE) }> = Stacks::new();

const STACK_BITS: u32 = 19;
const RATE_BITS: u32 = 5;
const SIZE_MAX: u64 = (1 << (64 - STACK_BITS - RATE_BITS)) - 1;

/// Takes the calling thread's stack and what it is in. If a window runs, it hears of it.
///
/// Called within the allocator: it allocates nothing and waits for nobody.
#[inline(never)]
pub(super) fn take(size: usize, rate: u32) -> Sample {
    let mut room = [0; told::MAX_FRAMES];
    let depth = stack::take(&mut room);
    let stack = &room[..depth];
    told::tell(stack, size);
    let (frames, context) = match stack.split_last() {
        Some((&context, frames)) => (frames, context),
        None => (stack, 0),
    };
    let size = (size as u64).min(SIZE_MAX);
    let what = (size << RATE_BITS | u64::from(rate)) << STACK_BITS | u64::from(STACKS.number(frames));
    Sample { what, context }
}

/// What lives, by stack and context.
pub(super) fn found(interval: u64) -> Found {
    let mut sums: HashMap<(u32, u64), [f64; 2]> = HashMap::new();
    let mut found = Found { interval, ..Found::default() };
    LIVE.each(|Sample { what, context }| {
        let stack = what as u32 & ((1 << STACK_BITS) - 1);
        let rate = (what >> STACK_BITS) as u32 & ((1 << RATE_BITS) - 1);
        let size = (what >> (STACK_BITS + RATE_BITS)) as f64;
        let objects = estimate::stands_for(size, 1 << rate);
        let sum = sums.entry((stack, context)).or_default();
        sum[0] += objects;
        sum[1] += objects * size;
        found.samples += 1;
        let (_, context) = pseudo_frame::split(std::slice::from_ref(&context));
        found.complete += u64::from(context.complete);
    });
    for ((stack, context), values) in sums {
        let (_, context) = pseudo_frame::split(std::slice::from_ref(&context));
        let sum = found.sums.entry((STACKS.frames(stack).into(), context.context)).or_default();
        sum[0] += values[0].round() as i64;
        sum[1] += values[1].round() as i64;
    }
    found.dropped = vec![("table_full", LIVE.refused()), ("stack_cap", STACKS.cut())];
    found
}

/// Bytes that are kept, at most.
pub(super) fn bytes() -> usize {
    LIVE.bytes() + STACKS.bytes()
}
