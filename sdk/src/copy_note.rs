//! A note in the object file that says that it has a copy of this crate which records.
//!
//! A plugin that links a copy of its own records apart from the program. Nobody who looks from the
//! program sees that, but for this note, which the loader maps and lists with the object
//! (`PT_NOTE`). It is no symbol, so copies of several versions in one program don't collide.

/// The note as elf(5) has it: lengths, a type, the owner's name and the content, padded to four
/// bytes.
#[repr(C, align(4))]
pub struct Note {
    name_length: u32,
    content_length: u32,
    kind: u32,
    name: [u8; 12],
    version: [u8; VERSION],
}

/// Room for a version.
const VERSION: usize = 16;

/// Whose note it is, with the zero that ends it, and of which type.
pub const NAME: &[u8; 11] = b"Stagelight\0";
/// The type of notes whose content is the version of a copy.
pub const KIND: u32 = 1;

#[cfg(all(feature = "enabled", target_os = "linux"))]
#[used]
// SAFETY: a section of constant data of our own name, which holds notes of this form alone.
#[unsafe(link_section = ".note.stagelight")]
static NOTE: Note = Note {
    name_length: NAME.len() as u32,
    content_length: VERSION as u32,
    kind: KIND,
    name: *b"Stagelight\0\0",
    version: {
        let mut version = [0; VERSION];
        let text = env!("CARGO_PKG_VERSION").as_bytes();
        let mut index = 0;
        while index < text.len() && index < VERSION {
            version[index] = text[index];
            index += 1;
        }
        version
    },
};

/// Where this copy's note lies; `None` where it records nothing.
#[must_use]
pub fn own() -> Option<*const Note> {
    #[cfg(all(feature = "enabled", target_os = "linux"))]
    return Some(std::hint::black_box(&raw const NOTE));
    #[cfg(not(all(feature = "enabled", target_os = "linux")))]
    None
}
