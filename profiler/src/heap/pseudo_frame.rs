//! Labels as pseudo-frames: the outermost "address" of a sampled allocation's stack carries what its thread was in.
//!
//! jemalloc then keeps its own counts by stack and label, and a dump gives live memory by label with no tracking of
//! frees. The address is not canonical on x86_64, so no real frame can be taken for one.

const MARK: u64 = 0x57a6 << 48;
const MARK_MASK: u64 = 0xffff << 48;
const COMPLETE: u64 = 1 << 47;
const STAGE_SHIFT: u32 = 32;
const STAGE_MASK: u32 = 0x7fff;

/// What a pseudo-frame says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    /// Stage number and label set.
    pub(super) context: (u32, u32),
    /// Whether the walk reached the thread's start.
    pub(super) complete: bool,
}

#[cfg_attr(not(target_os = "linux"), expect(dead_code))]
pub(super) fn encode(Context { context: (stage, labels), complete }: Context) -> u64 {
    let complete = if complete { COMPLETE } else { 0 };
    MARK | complete | u64::from(stage & STAGE_MASK) << STAGE_SHIFT | u64::from(labels)
}

/// Parts a stack into its frames and what its pseudo-frame says, if it has one.
#[cfg_attr(not(target_os = "linux"), expect(dead_code))]
pub(super) fn split(stack: &[u64]) -> (&[u64], Context) {
    match stack.split_last() {
        Some((&last, frames)) if last & MARK_MASK == MARK => {
            let context = ((last >> STAGE_SHIFT) as u32 & STAGE_MASK, last as u32);
            (frames, Context { context, complete: last & COMPLETE != 0 })
        }
        _ => (stack, Context::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_split_off() {
        for complete in [false, true] {
            let context = Context { context: (1023, u32::MAX), complete };
            let stack = [0x5555_0000_1000, 0x7fff_ffff_f000, encode(context)];
            assert_eq!(split(&stack), (&stack[..2], context));
        }
        assert_eq!(split(&[1, 2]), (&[1, 2][..], Context::default()));
        assert_eq!(split(&[]), (&[][..], Context::default()));
    }
}
