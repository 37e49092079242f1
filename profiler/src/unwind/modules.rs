//! The unwind tables of all loaded objects, read from memory as the loader mapped them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use framehop::{
    ExplicitModuleSectionInfo, Module, MustNotAllocateDuringUnwind, Unwinder as _, UnwinderNative,
};

use crate::loaded;

/// The bytes of a table: the program's own where they lie, a library's as a copy, because a library may be
/// unloaded while a walk reads them. The copies of libc and its like come to a few hundred KB.
#[derive(Clone)]
pub(super) enum Table {
    Mapped(&'static [u8]),
    Copied(Arc<[u8]>),
}

impl std::ops::Deref for Table {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Table::Mapped(bytes) => bytes,
            Table::Copied(bytes) => bytes,
        }
    }
}

pub(super) type Unwinder = UnwinderNative<Table, MustNotAllocateDuringUnwind>;

/// All loaded objects at one moment.
pub(super) struct Modules {
    /// Tells these tables from all others of the process's life.
    pub(super) number: u64,
    pub(super) unwinder: Unwinder,
    pub(super) copied_bytes: usize,
    /// Where there is code, sorted.
    code: Vec<Range<u64>>,
}

impl Modules {
    /// Whether an address lies in an object's code.
    pub(super) fn is_code(&self, address: u64) -> bool {
        let after = self.code.partition_point(|range| range.start <= address);
        after.checked_sub(1).is_some_and(|index| self.code[index].contains(&address))
    }
}

/// How often the loader has loaded and unloaded objects: while this stands, so do the modules.
pub(super) fn generation() -> (u64, u64) {
    let mut generation = (0, 0);
    loaded::each(|object| {
        generation = object.generation();
        false
    });
    generation
}

/// Reads the tables of all objects that are loaded now.
pub(super) fn load() -> Modules {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut modules = Modules { number, unwinder: Unwinder::new(), copied_bytes: 0, code: Vec::new() };
    let mut first = true;
    loaded::each(|object| {
        // The loader names the program first; it is never unloaded, and the vdso neither.
        let permanent = std::mem::take(&mut first) || object.name().starts_with("linux-vdso");
        let executable = object.headers(libc::PT_LOAD).filter(|header| header.p_flags & libc::PF_X != 0);
        modules.code.extend(executable.map(|header| object.place(header)));
        if let Some(object) = Object::read(object) {
            let module = object.module(permanent, &mut modules.copied_bytes);
            modules.unwinder.add_module(module);
        }
        true
    });
    modules.code.sort_by_key(|range| range.start);
    modules
}

/// Where the parts of an object lie, as addresses in memory.
struct Object {
    name: String,
    bias: u64,
    range: Range<u64>,
    eh_frame_hdr: Range<u64>,
    eh_frame: Range<u64>,
}

impl Object {
    fn read(object: &loaded::Object<'_>) -> Option<Self> {
        let segments = || object.segments();
        let range = segments().map(|s| s.start).min()?..segments().map(|s| s.end).max()?;
        let eh_frame_hdr = object.place(object.headers(libc::PT_GNU_EH_FRAME).next()?);
        segments().find(|s| s.start <= eh_frame_hdr.start && eh_frame_hdr.end <= s.end)?;
        // SAFETY: a loaded segment contains the range, as just seen.
        let start = eh_frame_start(unsafe { bytes(&eh_frame_hdr) }, eh_frame_hdr.start)?;
        // No header tells where the table ends. Its index leads to every entry, so up to the segment's end will do.
        let end = segments().find(|s| s.contains(&start))?.end;
        Some(Self { name: object.name(), bias: object.bias(), range, eh_frame_hdr, eh_frame: start..end })
    }

    fn module(self, permanent: bool, copied: &mut usize) -> Module<Table> {
        let mut table = |range: &Range<u64>| {
            // SAFETY: `read` saw that a loaded segment contains the range. Of an object that may be unloaded only
            // a copy is kept, and the loader's lock is held while it is made.
            let bytes = unsafe { bytes(range) };
            if permanent {
                Table::Mapped(bytes)
            } else {
                *copied += bytes.len();
                Table::Copied(bytes.into())
            }
        };
        let svma =
            |range: &Range<u64>| range.start.wrapping_sub(self.bias)..range.end.wrapping_sub(self.bias);
        let sections = ExplicitModuleSectionInfo {
            base_svma: 0,
            eh_frame_svma: Some(svma(&self.eh_frame)),
            eh_frame: Some(table(&self.eh_frame)),
            eh_frame_hdr_svma: Some(svma(&self.eh_frame_hdr)),
            eh_frame_hdr: Some(table(&self.eh_frame_hdr)),
            // What other formats have, and what these tables make needless.
            text_svma: None,
            text: None,
            stubs_svma: None,
            stub_helper_svma: None,
            got_svma: None,
            unwind_info: None,
            debug_frame: None,
            text_segment_svma: None,
            text_segment: None,
        };
        Module::new(self.name, self.range, self.bias, sections)
    }
}

/// # Safety
/// The range is mapped and readable for as long as the result is used.
unsafe fn bytes(range: &Range<u64>) -> &'static [u8] {
    let length = (range.end - range.start) as usize;
    // SAFETY: by the caller's promise.
    unsafe { std::slice::from_raw_parts(range.start as *const u8, length) }
}

/// The address of `.eh_frame`, as its header states it: version 1, then the encodings of three fields, then the
/// first field, which every linker writes relative to itself in four bytes.
/// Source: Linux Standard Base, Core, 10.6.2.
fn eh_frame_start(header: &[u8], address: u64) -> Option<u64> {
    const VERSION: u8 = 1;
    const PC_RELATIVE_SIGNED_4: u8 = 0x1b;
    let &[VERSION, PC_RELATIVE_SIGNED_4, _, _, a, b, c, d, ..] = header else { return None };
    let offset = i64::from(i32::from_le_bytes([a, b, c, d]));
    Some((address + 4).wrapping_add_signed(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_libc_and_the_vdso_have_tables() {
        let mut names = Vec::new();
        loaded::each(|object| {
            if let Some(object) = Object::read(object) {
                names.push(object.name);
            }
            true
        });
        assert_eq!(names[0], "", "the loader names the program first, with an empty name");
        assert!(names.iter().any(|name| name.contains("libc.so")), "{names:?}");
    }

    #[test]
    fn a_header_of_another_form_is_refused() {
        assert_eq!(eh_frame_start(&[1, 0x1b, 3, 0x3b, 8, 0, 0, 0], 0x1000), Some(0x100c));
        assert_eq!(eh_frame_start(&[1, 0x03, 3, 0x3b, 8, 0, 0, 0], 0x1000), None);
        assert_eq!(eh_frame_start(&[2, 0x1b, 3, 0x3b, 8, 0, 0, 0], 0x1000), None);
        assert_eq!(eh_frame_start(&[1, 0x1b], 0x1000), None);
    }
}
