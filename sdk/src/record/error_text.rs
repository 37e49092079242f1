//! What the error says that a stage returns, noted on its span: off unless it is asked for, since
//! such texts quote the values that a statement was given.

use std::fmt::{self, Display, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use super::span_record::{ERROR, NUMBER_SHIFT, Record, WORDS, depth_bits};
use super::thread;

/// Bytes of a text; the rest is cut.
const MOST: usize = 240;

/// Bytes in a record, behind the word that says what it is.
const PART: usize = (WORDS - 1) * 8;

static WANTED: AtomicBool = AtomicBool::new(false);

/// Whether texts are noted from now on.
pub(crate) fn want(wanted: bool) {
    WANTED.store(wanted, Ordering::Relaxed);
}

/// Notes an error on the stage that the calling thread is in, if its query is followed and texts
/// are wanted. Else it costs a load and a branch.
#[cold]
#[inline(never)]
pub fn note_error<E: Display + ?Sized>(error: &E) {
    if WANTED.load(Ordering::Relaxed) {
        note(&error);
    }
}

#[inline(never)]
fn note(error: &dyn Display) {
    let followed = || thread::present().filter(|block| block.spans.seed() != 0);
    if followed().is_none() {
        return;
    }
    let mut text = Cut { bytes: [0; MOST], length: 0 };
    // The host's own code; a text that is cut ends in an error, too.
    if catch_unwind(AssertUnwindSafe(|| write!(text, "{error}"))).is_err() {
        text = Cut { bytes: [0; MOST], length: 0 };
        let _ = text.write_str("(its Display panicked)");
    }
    // That code may have run queries of its own.
    let Some(block) = followed() else { return };
    for part in text.bytes[..text.length].chunks(PART) {
        let mut record: Record = [0; WORDS];
        record[0] = ERROR | depth_bits(block.depth()) | (part.len() as u64) << NUMBER_SHIFT;
        for (word, bytes) in record[1..].iter_mut().zip(part.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(whole);
        }
        block.spans.push_note(record);
    }
}

/// The bytes of a record of this kind.
pub(crate) fn bytes(record: &Record) -> impl Iterator<Item = u8> + '_ {
    let length = (record[0] >> NUMBER_SHIFT) as usize;
    record[1..].iter().flat_map(|word| word.to_le_bytes()).take(length)
}

/// The beginning of a text.
struct Cut {
    bytes: [u8; MOST],
    length: usize,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(MOST - self.length);
        self.bytes[self.length..self.length + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.length += fits;
        // Whoever writes more may stop.
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let mut text = Cut { bytes: [0; MOST], length: 0 };
        assert!(text.write_str(&"a".repeat(MOST - 3)).is_ok());
        assert!(text.write_str("öö").is_err());
        assert_eq!(std::str::from_utf8(&text.bytes[..text.length]).unwrap().chars().last(), Some('ö'));
        assert_eq!(text.length, MOST - 1);
    }
}
