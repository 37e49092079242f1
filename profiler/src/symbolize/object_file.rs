//! Files of code and of debug information, and the one object that has no file.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use object::elf::SHF_EXECINSTR;
use object::read::elf::{ElfFile64, FileHeader as _, SectionHeader as _};
use object::{Endianness, Object as _};

/// What [`ObjectFile::elf`] gives.
pub(super) type Elf<'a> = ElfFile64<'a, Endianness>;

/// An object's bytes.
pub(super) struct ObjectFile {
    path: PathBuf,
    /// What it is called in sentences.
    name: String,
    bytes: Bytes,
}

enum Bytes {
    Mapped(Mmap),
    #[cfg(target_os = "linux")]
    Memory(&'static [u8]),
}

impl ObjectFile {
    /// Maps a file. Its pages are the system's, and are given back with it.
    ///
    /// # Errors
    /// In a sentence that names the file, if it can't be read.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let failed = |error| format!("{} can't be read: {error}", path.display());
        let file = File::open(path).map_err(failed)?;
        // SAFETY: installed programs, libraries and their debug information are replaced and not
        // overwritten, for the loader maps them in the same way. The mapping lives while names are
        // looked up.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Ok(Self { path: path.to_owned(), name: path.display().to_string(), bytes: Bytes::Mapped(map) })
    }

    /// The kernel's page of code that it maps into each process.
    #[cfg(target_os = "linux")]
    pub(super) fn vdso() -> Option<Self> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|bound| usize::from_str_radix(bound, 16).unwrap_or(0));
        let length = end.checked_sub(start).filter(|length| *length > 0 && start > 0)?;
        // SAFETY: the kernel maps the vdso readable, for the life of the process, and never writes
        // to it.
        let bytes = unsafe { std::slice::from_raw_parts(start as *const u8, length) };
        Some(Self { path: PathBuf::new(), name: "[vdso]".into(), bytes: Bytes::Memory(bytes) })
    }

    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            #[cfg(target_os = "linux")]
            Bytes::Memory(bytes) => bytes,
        }
    }

    /// The sum by which programs know the file of their debug information.
    pub(super) fn checksum(&self) -> u32 {
        let mut sum = flate2::Crc::new();
        sum.update(self.bytes());
        sum.sum()
    }

    /// The same under the name that people know it by.
    #[cfg(target_os = "linux")]
    pub(super) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// # Errors
    /// In a sentence that names the file, if it is no ELF file of 64 bits.
    pub(super) fn elf(&self) -> Result<Elf<'_>, String> {
        Elf::parse(self.bytes()).map_err(|error| format!("{} can't be read: {error}", self.name))
    }
}

/// The build id in hexadecimal; empty if there is none.
pub(super) fn build_id(elf: &Elf<'_>) -> String {
    let id = elf.build_id().ok().flatten().unwrap_or_default();
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A section that holds code.
pub(super) struct CodeSection<'a> {
    /// Its place in the section table.
    pub(super) index: usize,
    pub(super) name: &'a [u8],
    /// The addresses that it has.
    pub(super) range: Range<u64>,
    /// Length of an entry, of sections that have such; else 0.
    pub(super) entry: u64,
}

pub(super) fn code_sections<'a>(elf: &Elf<'a>) -> Vec<CodeSection<'a>> {
    let endian = elf.elf_header().endian().unwrap_or_default();
    let table = elf.elf_section_table();
    let code = table.enumerate().filter(|(_, section)| {
        section.sh_flags(endian).contains(SHF_EXECINSTR) && section.sh_size(endian) > 0
    });
    code.map(|(index, section)| {
        let start = section.sh_addr(endian);
        CodeSection {
            index: index.0,
            name: table.section_name(endian, section).unwrap_or_default(),
            range: start..start.saturating_add(section.sh_size(endian)),
            entry: section.sh_entsize(endian),
        }
    })
    .collect()
}
