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

/// What lines and inlined functions take.
const WANTED: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// What a package of split units must have as well: its index, and what that points into.
const PACKAGED: [SectionId; 7] = [
    SectionId::DebugCuIndex,
    SectionId::DebugTuIndex,
    SectionId::DebugLoc,
    SectionId::DebugLocLists,
    SectionId::DebugMacinfo,
    SectionId::DebugMacro,
    SectionId::DebugTypes,
];

impl<'a> Sections<'a> {
    /// # Errors
    /// In a sentence, if they can't be uncompressed.
    pub(super) fn of(elf: &Elf<'a>, budget: &Budget) -> Result<Self, String> {
        Self::load(elf, budget, WANTED.iter().map(|&id| (id, id.name())))
    }

    /// Those of a split unit, or of a package of such.
    ///
    /// # Errors
    /// In a sentence, if the file can't be read or they can't be uncompressed.
    pub(super) fn of_split(file: &'a ObjectFile, budget: &Budget) -> Result<Self, String> {
        let all = WANTED.iter().chain(&PACKAGED);
        Self::load(&file.elf()?, budget, all.filter_map(|&id| Some((id, id.dwo_name()?))))
    }

    fn load(
        elf: &Elf<'a>,
        budget: &Budget,
        wanted: impl Iterator<Item = (SectionId, &'static str)>,
    ) -> Result<Self, String> {
        let mut sections = Vec::new();
        for (id, name) in wanted {
            let Some(section) = elf.section_by_name(name) else { continue };
            let failed = |error| format!("{name}: {error}");
            let data = section.compressed_data().map_err(failed)?;
            if data.format != object::CompressionFormat::None {
                budget.take(data.uncompressed_size)?;
            }
            sections.push((id, data.decompress().map_err(failed)?));
        }
        let endian = if elf.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        Ok(Self { sections, endian })
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
