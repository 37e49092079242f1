//! The notes in an object's `PT_NOTE` segments, such as its build id.

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElfNote<'a> {
    /// Whose it is, with the zero that ends it.
    pub(crate) name: &'a [u8],
    pub(crate) kind: u32,
    pub(crate) content: &'a [u8],
    /// From its first byte to the segment's last.
    pub(crate) whole: &'a [u8],
}

/// Goes through the notes of a segment: each has the lengths of its name and content, a type, and
/// the two, padded.
/// Source: elf(5), "Notes (Nhdr)".
pub(crate) fn elf_notes(notes: &[u8], align: u64) -> impl Iterator<Item = ElfNote<'_>> {
    let mut rest = notes;
    let align = align.clamp(4, 8) as usize;
    std::iter::from_fn(move || {
        let (note, after) = first(rest, align)?;
        rest = after;
        Some(note)
    })
}

fn first(notes: &[u8], align: usize) -> Option<(ElfNote<'_>, &[u8])> {
    const HEADER: usize = 12;
    let word = |index: usize| Some(u32::from_ne_bytes(notes.get(index * 4..)?.first_chunk().copied()?));
    let (name, content, kind) = (word(0)? as usize, word(1)? as usize, word(2)?);
    let start = (HEADER + name).next_multiple_of(align);
    let end = start.checked_add(content)?;
    let note = ElfNote {
        name: notes.get(HEADER..HEADER + name)?,
        kind,
        content: notes.get(start..end)?,
        whole: notes,
    };
    Some((note, notes.get(end.next_multiple_of(align)..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_to_their_end_and_not_beyond() {
        let note = |name: &[u8], kind: u32, content: &[u8]| {
            let mut note = Vec::new();
            for word in [name.len() as u32, content.len() as u32, kind] {
                note.extend(word.to_ne_bytes());
            }
            note.extend(name);
            note.extend(content);
            note
        };
        let mut notes = note(b"GNU\0", 1, &[9; 16]);
        notes.extend(note(b"GNU\0", 3, &[1, 2, 3, 4]));
        let kinds = |notes: &[u8]| elf_notes(notes, 4).map(|note| note.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&notes), [1, 3]);
        let last = elf_notes(&notes, 4).last().unwrap();
        assert_eq!((last.name, last.content), (&b"GNU\0"[..], &[1, 2, 3, 4][..]));
        assert_eq!(kinds(&notes[..notes.len() - 1]), [1]);
        assert!(kinds(&[0xff; 64]).is_empty() && kinds(&[]).is_empty());
    }
}
