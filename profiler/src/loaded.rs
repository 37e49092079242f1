//! The objects that the loader has mapped: the program, its libraries, the vdso.

use std::ffi::{CStr, c_void};
use std::ops::Range;

use crate::elf_notes::{ElfNote, elf_notes};

/// One of them, valid while [`each`] visits it.
pub(crate) struct Object<'a> {
    info: &'a libc::dl_phdr_info,
}

/// Calls `visit` with each object, the program first, until it says no. The loader's lock is held meanwhile, so none is
/// unloaded.
pub(crate) fn each(mut visit: impl FnMut(&Object<'_>) -> bool) {
    unsafe extern "C" fn call(
        info: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        visit: *mut c_void,
    ) -> libc::c_int {
        // SAFETY: `visit` is the pointer handed over below, alive and unshared during the iteration; the loader
        // hands a valid `info` to each call.
        let (visit, info) = unsafe { (&mut *visit.cast::<&mut dyn FnMut(&Object<'_>) -> bool>(), &*info) };
        libc::c_int::from(!visit(&Object { info }))
    }
    let mut visit: &mut dyn FnMut(&Object<'_>) -> bool = &mut visit;
    // SAFETY: `call` fits the loader's callback type, and its argument outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(call), (&raw mut visit).cast()) };
}

impl Object<'_> {
    /// How often the loader has loaded and unloaded objects.
    pub(crate) fn generation(&self) -> (u64, u64) {
        (self.info.dlpi_adds, self.info.dlpi_subs)
    }

    /// Its file, as the loader names it; empty for the program.
    pub(crate) fn name(&self) -> String {
        if self.info.dlpi_name.is_null() {
            return String::new();
        }
        // SAFETY: the loader's names are null-terminated and live while it iterates.
        unsafe { CStr::from_ptr(self.info.dlpi_name) }.to_string_lossy().into_owned()
    }

    /// What is added to its file's addresses to have those in memory.
    pub(crate) fn bias(&self) -> u64 {
        self.info.dlpi_addr
    }

    /// Its program headers of one type.
    pub(crate) fn headers(&self, kind: u32) -> impl Iterator<Item = &libc::Elf64_Phdr> {
        // SAFETY: the loader gives `dlpi_phnum` headers at `dlpi_phdr`.
        let headers = unsafe { std::slice::from_raw_parts(self.info.dlpi_phdr, self.info.dlpi_phnum.into()) };
        headers.iter().filter(move |header| header.p_type == kind)
    }

    /// Where in memory that which a header describes lies.
    pub(crate) fn place(&self, header: &libc::Elf64_Phdr) -> Range<u64> {
        let start = self.bias().wrapping_add(header.p_vaddr);
        start..start.wrapping_add(header.p_memsz)
    }

    /// Its notes.
    pub(crate) fn notes(&self) -> impl Iterator<Item = ElfNote<'_>> {
        self.headers(libc::PT_NOTE).flat_map(|header| {
            let place = self.place(header);
            let within = |segment: &Range<u64>| segment.start <= place.start && place.end <= segment.end;
            let length = match self.segments().any(|segment| within(&segment)) {
                true => (place.end - place.start) as usize,
                false => 0,
            };
            let start = if length == 0 { std::ptr::dangling() } else { place.start as *const u8 };
            // SAFETY: a loaded segment contains the notes, or there are none; the loader's lock keeps
            // it while the object is visited.
            elf_notes(unsafe { std::slice::from_raw_parts(start, length) }, header.p_align)
        })
    }

    /// The places of its loaded segments.
    pub(crate) fn segments(&self) -> impl Iterator<Item = Range<u64>> {
        self.headers(libc::PT_LOAD).map(|header| self.place(header))
    }
}
