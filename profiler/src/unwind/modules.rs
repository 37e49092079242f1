//! The unwind tables of all loaded objects, read from memory as the loader mapped them.

use std::ffi::{CStr, c_void};
use std::ops::Range;
use std::sync::Arc;

use framehop::{
    ExplicitModuleSectionInfo, Module, MustNotAllocateDuringUnwind, Unwinder as _, UnwinderNative,
};

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
    pub(super) unwinder: Unwinder,
    pub(super) copied_bytes: usize,
}

/// How often the loader has loaded and unloaded objects: while this stands, so do the modules.
pub(super) fn generation() -> (u64, u64) {
    let mut generation = (0, 0);
    each_object(|info| {
        generation = (info.dlpi_adds, info.dlpi_subs);
        false
    });
    generation
}

/// Reads the tables of all objects that are loaded now.
pub(super) fn load() -> Modules {
    let mut modules = Modules { unwinder: Unwinder::new(), copied_bytes: 0 };
    let mut first = true;
    each_object(|info| {
        // The loader names the program first; it is never unloaded, and the vdso neither.
        let permanent = std::mem::take(&mut first) || name(info).starts_with("linux-vdso");
        if let Some(object) = Object::read(info) {
            let module = object.module(permanent, &mut modules.copied_bytes);
            modules.unwinder.add_module(module);
        }
        true
    });
    modules
}

/// Calls `visit` with each object until it says no. The loader's lock is held meanwhile, so none is unloaded.
fn each_object(mut visit: impl FnMut(&libc::dl_phdr_info) -> bool) {
    unsafe extern "C" fn call(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        visit: *mut c_void,
    ) -> libc::c_int {
        // SAFETY: `visit` is the pointer handed over below, alive and unshared during the iteration; the loader
        // hands a valid `info` to each call.
        let (visit, info) =
            unsafe { (&mut *visit.cast::<&mut dyn FnMut(&libc::dl_phdr_info) -> bool>(), &*info) };
        libc::c_int::from(!visit(info))
    }
    let mut visit: &mut dyn FnMut(&libc::dl_phdr_info) -> bool = &mut visit;
    // SAFETY: `call` fits the loader's callback type, and its argument outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(call), (&raw mut visit).cast()) };
}

fn name(info: &libc::dl_phdr_info) -> String {
    if info.dlpi_name.is_null() {
        return String::new();
    }
    // SAFETY: the loader's names are null-terminated and live while it iterates.
    unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned()
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
    fn read(info: &libc::dl_phdr_info) -> Option<Self> {
        let bias = info.dlpi_addr;
        // SAFETY: the loader gives `dlpi_phnum` headers at `dlpi_phdr`.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let place = |header: &libc::Elf64_Phdr| {
            let start = bias.wrapping_add(header.p_vaddr);
            start..start.wrapping_add(header.p_memsz)
        };
        let segments = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(place);
        let range = segments().map(|s| s.start).min()?..segments().map(|s| s.end).max()?;
        let eh_frame_hdr = place(headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?);
        segments().find(|s| s.start <= eh_frame_hdr.start && eh_frame_hdr.end <= s.end)?;
        // SAFETY: a loaded segment contains the range, as just seen.
        let start = eh_frame_start(unsafe { bytes(&eh_frame_hdr) }, eh_frame_hdr.start)?;
        // No header tells where the table ends. Its index leads to every entry, so up to the segment's end will do.
        let end = segments().find(|s| s.contains(&start))?.end;
        Some(Self { name: name(info), bias, range, eh_frame_hdr, eh_frame: start..end })
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
        each_object(|info| {
            if let Some(object) = Object::read(info) {
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
