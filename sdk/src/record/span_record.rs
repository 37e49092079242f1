//! What stands in a ring of spans: words, of which the first says what they are.

/// Words of a record.
pub(crate) const WORDS: usize = 6;

/// A record: its first word says what it is.
pub(crate) type Record = [u64; WORDS];

/// The low byte of a record's first word.
pub(crate) const SPAN: u64 = 1;
pub(crate) const EVENT: u64 = 2;
pub(crate) const ATTRIBUTE: u64 = 3;
pub(crate) const TRACE: u64 = 4;
/// A part of an error's text.
pub(crate) const ERROR: u64 = 5;
/// The next byte: the depth of the path (of a span, its own), at most 255.
pub(crate) const DEPTH_SHIFT: u32 = 8;
/// Then flags and, in the upper half, a number: the stage of a span, the label set of a trace, the
/// type of a value, the bytes of a text.
pub(crate) const FAILED: u64 = 1 << 16;
pub(crate) const HEAD: u64 = 1 << 17;
pub(crate) const SLOW: u64 = 1 << 18;
pub(crate) const NUMBER_SHIFT: u32 = 32;

pub(crate) fn depth_bits(depth: u32) -> u64 {
    u64::from(depth.min(255)) << DEPTH_SHIFT
}
