//! Debug information that the compiler split from what it compiled: a file for each unit, or a
//! package of all.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::SplitDwarfLoad;
use addr2line::gimli::Dwarf;

use super::debug_files;
use super::debug_sections::{Budget, Reader, Sections};
use super::object_file::ObjectFile;

/// Files of single units that are read for a profile.
const CAP: usize = 4096;

/// The files, which are opened as they are asked for.
pub(super) struct SplitFiles {
    package: Option<ObjectFile>,
    units: Vec<OnceCell<Option<ObjectFile>>>,
}

impl SplitFiles {
    /// Those that belong to a program or library.
    pub(super) fn new(object: &ObjectFile) -> Self {
        let units = (0..CAP).map(|_| OnceCell::new()).collect();
        Self { package: debug_files::package(object), units }
    }
}

/// What is in them.
pub(super) struct SplitUnits<'f> {
    files: &'f SplitFiles,
    budget: &'f Budget,
    package: Option<Sections<'f>>,
    units: Vec<OnceCell<Option<Sections<'f>>>>,
    next: Cell<usize>,
}

impl<'f> SplitUnits<'f> {
    /// # Errors
    /// In a sentence, if there is a package that can't be read.
    pub(super) fn new(files: &'f SplitFiles, budget: &'f Budget) -> Result<Self, String> {
        let package =
            files.package.as_ref().map(|package| Sections::of_split(package, budget)).transpose()?;
        let units = (0..CAP).map(|_| OnceCell::new()).collect();
        Ok(Self { files, budget, package, units, next: Cell::new(0) })
    }

    /// A unit that debug information refers to; `None` if its file is not there, or is that of
    /// another build.
    pub(super) fn load<'s>(&'s self, load: &SplitDwarfLoad<Reader<'s>>) -> Option<Arc<Dwarf<Reader<'s>>>> {
        let package = self.package.as_ref().and_then(Sections::package);
        if let Some(Ok(Some(unit))) = package.map(|package| package.find_cu(load.dwo_id, &load.parent)) {
            return Some(Arc::new(unit));
        }
        let place = self.next.replace(self.next.get() + 1);
        let file = self.files.units.get(place)?.get_or_init(|| ObjectFile::open(&path(load)?).ok());
        let file = file.as_ref()?;
        let sections = self.units[place].get_or_init(|| Sections::of_split(file, self.budget).ok());
        let mut unit = sections.as_ref()?.dwarf();
        let header = unit.units().next().ok()??;
        (unit.unit(header).ok()?.dwo_id == Some(load.dwo_id)).then_some(())?;
        unit.make_dwo(&load.parent);
        Some(Arc::new(unit))
    }
}

/// Where the file of a unit is.
pub(super) fn path(load: &SplitDwarfLoad<Reader<'_>>) -> Option<PathBuf> {
    let folder = load.comp_dir.map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
    Some(Path::new(&folder).join(&*load.path?.to_string_lossy()))
}
