//! The sections of a file that hold its debug information.

use std::borrow::Cow;
use std::cell::Cell;

use addr2line::gimli::{self, DwarfPackage, EndianSlice, RunTimeEndian, SectionId};
use object::{Object as _, ObjectSection as _};

use super::object_file::{Elf, ObjectFile};

/// How their bytes are read.
pub(super) type Reader<'a> = EndianSlice<'a, RunTimeEndian>;

/// How many bytes of compressed sections may be held at once, uncompressed. Those that are not
/// compressed take none: they stay in the file.
pub(super) struct Budget(Cell<u64>);

const UNCOMPRESSED_CAP: u64 = 512 << 20;

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(UNCOMPRESSED_CAP))
    }
}

impl Budget {
    fn take(&self, bytes: u64) -> Result<(), String> {
        let left = self.0.get().checked_sub(bytes).ok_or_else(|| {
            format!(
                "it is compressed and takes more than {} MiB uncompressed; \
                 `objcopy --decompress-debug-sections` makes a file that is read as it is",
                UNCOMPRESSED_CAP >> 20
            )
        })?;
        self.0.set(left);
        Ok(())
    }
}

/// The sections of a file that lines and inlined functions are in, uncompressed.
pub(super) struct Sections<'a> {
    sections: Vec<(SectionId, Cow<'a, [u8]>)>,
    endian: RunTimeEndian,
}

impl<'a> Sections<'a> {
    const WANTED: [SectionId; 12] = [
        SectionId::DebugAbbrev,
        SectionId::DebugAddr,
        SectionId::DebugAranges,
        SectionId::DebugCuIndex,
        SectionId::DebugInfo,
        SectionId::DebugLine,
        SectionId::DebugLineStr,
        SectionId::DebugRanges,
        SectionId::DebugRngLists,
        SectionId::DebugStr,
        SectionId::DebugStrOffsets,
        SectionId::DebugTuIndex,
    ];

    /// # Errors
    /// In a sentence, if they can't be uncompressed.
    pub(super) fn load(
        elf: &Elf<'a>,
        budget: &Budget,
        name: fn(SectionId) -> &'static str,
    ) -> Result<Self, String> {
        let mut sections = Vec::new();
        for id in Self::WANTED {
            if name(id).is_empty() {
                continue;
            }
            let Some(section) = elf.section_by_name(name(id)) else { continue };
            let failed = |error| format!("{}: {error}", name(id));
            let data = section.compressed_data().map_err(failed)?;
            let is_compressed = data.format != object::CompressionFormat::None;
            if is_compressed {
                budget.take(data.uncompressed_size)?;
            }
            sections.push((id, data.decompress().map_err(failed)?));
        }
        let endian = if elf.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        Ok(Self { sections, endian })
    }

    pub(super) fn load_file(
        file: &'a ObjectFile,
        budget: &Budget,
        name: fn(SectionId) -> &'static str,
    ) -> Result<Self, String> {
        Self::load(&file.elf()?, budget, name)
    }

    fn reader(&self, wanted: SectionId) -> Reader<'_> {
        let section = self.sections.iter().find(|(id, _)| *id == wanted);
        Reader::new(section.map_or(&[], |(_, data)| data), self.endian)
    }

    pub(super) fn dwarf(&self) -> gimli::Dwarf<Reader<'_>> {
        let load = |id| Ok::<_, std::convert::Infallible>(self.reader(id));
        let Ok(dwarf) = gimli::Dwarf::load(load);
        dwarf
    }

    /// What it holds as a package of split units.
    pub(super) fn package(&self) -> Option<DwarfPackage<Reader<'_>>> {
        let empty = Reader::new(&[], self.endian);
        DwarfPackage::load(|id| Ok::<_, gimli::Error>(self.reader(id)), empty).ok()
    }
}
