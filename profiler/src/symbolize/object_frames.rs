//! What an object's file, and those that were parted from it, tell of addresses in it.

use super::debug_info::{self, Place};
use super::demangle::demangle;
use super::object_file::{Elf, ObjectFile};
use super::{Frame, debug_files, plt, symbol_table};

/// What could not be had.
#[derive(Default)]
pub(super) struct Missing {
    /// What can't be read, in sentences.
    pub(super) unread: Vec<String>,
    /// Objects without debug information that lines were wanted of.
    pub(super) without_lines: Vec<String>,
}

impl Missing {
    /// All of it in sentences.
    pub(super) fn notes(mut self) -> Vec<String> {
        let names: Vec<&str> =
            self.without_lines.iter().map(|path| path.rsplit('/').next().unwrap_or_default()).collect();
        if !names.is_empty() {
            self.unread.push(format!("no lines, for there is no debug information: {}", names.join(", ")));
        }
        self.unread
    }
}

/// The frames at each address of an object, innermost first; none where nothing is known. Addresses
/// are the file's own, and sorted.
///
/// A function's name is the symbol table's, and one rule chooses among several; so it is the same
/// with and without `lines`. The debug information names what has no symbol.
pub(super) fn frames(
    file: &ObjectFile,
    addresses: &[u64],
    lines: bool,
    missing: &mut Missing,
) -> Vec<Vec<Frame>> {
    let elf = match file.elf() {
        Ok(elf) => elf,
        Err(error) => {
            missing.unread.push(error);
            return vec![Vec::new(); addresses.len()];
        }
    };
    let apart_file = debug_files::apart(file, &elf);
    let apart = apart_file.as_ref().and_then(|apart| Some((apart, apart.elf().ok()?)));
    let tables: Vec<&Elf<'_>> = std::iter::once(&elf).chain(apart.as_ref().map(|(_, elf)| elf)).collect();
    let stubs = plt::are_stubs(&elf, addresses);
    let mut names: Vec<Option<Frame>> = symbol_table::names(&tables, addresses)
        .into_iter()
        .map(|name| name.map(|name| Frame::of_symbol(&String::from_utf8_lossy(name))))
        .collect();
    if stubs.contains(&true) {
        for (name, stub) in names.iter_mut().zip(plt::names(&elf, addresses)) {
            *name = name.take().or_else(|| stub.map(Frame::named));
        }
    }

    let debug = [Some((file, &elf)), apart.as_ref().map(|(file, elf)| (*file, elf))];
    let debug = debug.into_iter().flatten().find(|(_, elf)| debug_info::is_in(elf));
    let Some((debug, _)) = debug else {
        missing.without_lines.extend(lines.then(|| file.name().to_owned()));
        return names.into_iter().map(|name| name.into_iter().collect()).collect();
    };
    let is_wanted = |&index: &usize| lines || names[index].is_none() && !stubs[index];
    let wanted: Vec<usize> = (0..addresses.len()).filter(is_wanted).collect();
    let mut details: Vec<Vec<Place>> = addresses.iter().map(|_| Vec::new()).collect();
    if !wanted.is_empty() {
        let wanted_addresses: Vec<u64> = wanted.iter().map(|&index| addresses[index]).collect();
        let told = debug_info::told(debug, &wanted_addresses);
        missing.unread.extend(told.unread);
        for (places, index) in told.places.into_iter().zip(wanted) {
            details[index] = places;
        }
    }
    let all = names.into_iter().zip(details).zip(stubs);
    all.map(|((name, places), is_stub)| together(name, places, lines, is_stub)).collect()
}

/// The frames of a symbol and of the places that the debug information has for the same address.
fn together(name: Option<Frame>, places: Vec<Place>, lines: bool, is_stub: bool) -> Vec<Frame> {
    let mut frames: Vec<Frame> = places.into_iter().map(Frame::of_place).collect();
    if !lines {
        frames.drain(..frames.len().saturating_sub(1));
        frames.iter_mut().for_each(Frame::forget_line);
    }
    match (name, frames.last_mut()) {
        (Some(name), Some(outermost)) => {
            outermost.function = name.function;
            outermost.system_name = name.system_name;
        }
        (Some(name), None) => frames.push(name),
        (None, _) if is_stub => frames.clear(),
        (None, _) => {}
    }
    // A line alone names nothing.
    if frames.iter().any(|frame| frame.function.is_empty()) {
        frames.retain(|frame| !frame.function.is_empty());
    }
    frames
}

impl Frame {
    fn of_symbol(symbol: &str) -> Self {
        let mut frame = Frame::named(symbol);
        if let Some(name) = demangle(symbol) {
            frame.system_name = std::mem::replace(&mut frame.function, name);
        }
        frame
    }

    fn of_place(place: Place) -> Self {
        let mut frame = Frame::of_symbol(&place.name);
        if !place.module.is_empty() && !place.name.is_empty() {
            frame.function = format!("{}::{}", place.module, place.name);
        }
        Frame { file: place.file, line: place.line, ..frame }
    }

    pub(crate) fn forget_line(&mut self) {
        self.file.clear();
        self.line = 0;
    }
}
