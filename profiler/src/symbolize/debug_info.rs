//! Lines and inlined functions by an object's debug information. What of it is read is what the
//! units of the addresses need, and all of it is given back afterwards.

use std::cell::OnceCell;
use std::sync::Arc;

use addr2line::gimli;
use addr2line::{Context, LookupContinuation as _, LookupResult};
use object::{Object as _, ObjectSection as _};

use super::debug_sections::{Budget, Reader, Sections};
use super::module_path::Crates;
use super::object_file::{Elf, ObjectFile};
use super::split_units::{self, SplitFiles, SplitUnits};
use super::{debug_files, demangle};

/// A function at a place in its source, as debug information knows it.
pub(super) struct Place {
    /// The linker's name, or the bare one if that is all; empty if none is known.
    pub(super) name: String,
    /// The path of the module that a bare name is in, as far as it is known; else empty.
    pub(super) module: String,
    /// Empty if unknown.
    pub(super) file: String,
    /// 0 if unknown.
    pub(super) line: u32,
}

/// Whether an object has any.
pub(super) fn is_in(elf: &Elf<'_>) -> bool {
    elf.section_by_name(".debug_info").is_some()
        || elf.section_by_name(".debug_line").is_some_and(|lines| lines.size() > 0)
}

/// What debug information tells of addresses.
pub(super) struct Told {
    /// The functions at each, innermost first; none where nothing is known.
    pub(super) places: Vec<Vec<Place>>,
    /// What of it can't be read, and why.
    pub(super) unread: Option<String>,
}

/// What a file's debug information tells of addresses.
pub(super) fn told(file: &ObjectFile, addresses: &[u64]) -> Told {
    let failed = |error| {
        let unread = format!("debug information in {} can't be read: {error}", file.name());
        Told { places: addresses.iter().map(|_| Vec::new()).collect(), unread: Some(unread) }
    };
    read(file, addresses).unwrap_or_else(failed)
}

fn read(file: &ObjectFile, addresses: &[u64]) -> Result<Told, String> {
    let budget = Budget::default();
    let elf = file.elf()?;
    let shared_file = debug_files::shared(file, &elf)?;
    let split_files = SplitFiles::new(file);

    let own = Sections::of(&elf, &budget)?;
    let shared = shared_file.as_ref().map(|shared| Sections::of(&shared.elf()?, &budget)).transpose()?;
    let split = SplitUnits::new(&split_files, &budget)?;
    let mut dwarf = own.dwarf();
    if let Some(shared) = &shared {
        dwarf.set_sup(shared.dwarf());
    }
    dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
    let dwarf = Arc::new(dwarf);
    let context = Context::from_arc_dwarf(Arc::clone(&dwarf)).map_err(|error| error.to_string())?;

    let crates = OnceCell::new();
    let (mut errors, mut missing) = (Vec::new(), Vec::new());
    let mut frames_at = |address| -> gimli::Result<Vec<Place>> {
        let mut lookup = context.find_frames(address);
        let mut frames = loop {
            match lookup {
                LookupResult::Output(frames) => break frames?,
                LookupResult::Load { load, continuation } => {
                    let unit = split.load(&load);
                    missing.extend(unit.is_none().then(|| split_units::path(&load)).flatten());
                    lookup = continuation.resume(unit);
                }
            }
        };
        let mut places = Vec::new();
        while let Some(frame) = frames.next()? {
            places.push(place(&frame, || crates.get_or_init(|| Crates::of(&dwarf))));
        }
        Ok(places)
    };
    let mut places = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let at = frames_at(address);
        places.push(at.unwrap_or_else(|error| {
            errors.push(error);
            Vec::new()
        }));
    }
    let mut unread = Vec::new();
    if let Some(error) = errors.first() {
        let (count, all) = (errors.len(), addresses.len());
        unread.push(format!(
            "debug information in {} at {count} of {all} addresses can't be read: {error}",
            file.name()
        ));
    }
    if let Some(first) = missing.first() {
        unread.push(format!(
            "{} files of split debug information are not there, such as {}",
            missing.len(),
            first.display()
        ));
    }
    Ok(Told { places, unread: (!unread.is_empty()).then(|| unread.join("; ")) })
}

fn place<'c>(frame: &addr2line::Frame<'_, Reader<'_>>, crates: impl FnOnce() -> &'c Crates) -> Place {
    let location = frame.location.as_ref();
    let file = location.and_then(|location| location.file).unwrap_or_default();
    let (mut name, mut module) = (String::new(), String::new());
    if let Some(function) = &frame.function {
        name = function.name.to_string_lossy().into_owned();
        // Bare, where all that was asked of the compiler are lines.
        let is_rust = function.language == Some(gimli::DW_LANG_Rust);
        if is_rust && demangle::demangle(&name).is_none() && !name.starts_with("__rust_") {
            module = crates().module(file);
        }
    }
    let line = location.and_then(|location| location.line).unwrap_or(0);
    Place { name, module, file: file.to_owned(), line }
}
