//! What an object's file, and those that were parted from it, tell of addresses in it.

use super::debug_info::{self, Place};
use super::demangle::demangle;
use super::object_file::{Elf, ObjectFile, code_sections};
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
    let code = code_sections(&elf);
    let is_wanted = |&index: &usize| {
        // What is no code has no line, whatever the debug information says.
        let is_code = code.iter().any(|section| section.range.contains(&addresses[index]));
        is_code && !stubs[index] && (lines || names[index].is_none())
    };
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
    names.into_iter().zip(details).map(|(name, places)| together(name, places, lines)).collect()
}

/// The frames of a symbol and of the places that the debug information has for the same address.
fn together(name: Option<Frame>, places: Vec<Place>, lines: bool) -> Vec<Frame> {
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
        (None, _) => {}
    }
    // A line alone names nothing.
    frames.retain(|frame| !frame.function.is_empty());
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use object::{Object as _, ObjectSymbol as _};

    use super::*;
    use crate::symbolize::tests::{link, linked};

    const MAIN: &str = "
        mod scan;
        #[inline(never)]
        fn outer(n: u64) -> u64 {
            scan::page(n)
        }
        fn main() {
            std::process::exit(i32::from(outer(std::env::args().count() as u64) == 7));
        }";

    const SCAN: &str = "
        pub struct Page(u64);
        impl Page {
            #[inline(always)]
            fn sum(&self) -> u64 {
                (0..self.0).fold(1, |sum, next| std::hint::black_box(sum ^ next))
            }
        }
        #[inline(always)]
        pub fn page(n: u64) -> u64 {
            Page(n).sum()
        }";

    /// All that is told of the instructions of `outer` in a program that `rustc` makes of the two
    /// files.
    fn told(folder: &Path, options: &[&str]) -> (Vec<Vec<Frame>>, Missing) {
        let source = folder.join("orders/src");
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("main.rs"), MAIN).unwrap();
        std::fs::write(source.join("scan.rs"), SCAN).unwrap();
        let program = folder.join("orders/program");
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2021", "--crate-name=orders", "-O", "src/main.rs", "-o", "program"]);
        rustc.args(options).current_dir(folder.join("orders"));
        let output = rustc.output().unwrap();
        assert!(output.status.success(), "{rustc:?}: {}", String::from_utf8_lossy(&output.stderr));
        let file = ObjectFile::open(&program).unwrap();
        let elf = file.elf().unwrap();
        let is_it = |symbol: &object::read::elf::ElfSymbol<'_, '_, _>| {
            symbol.name().is_ok_and(|name| demangle(name).as_deref() == Some("orders::outer"))
        };
        let outer = elf.symbols().find(is_it).unwrap();
        let addresses: Vec<u64> = (outer.address()..outer.address() + outer.size()).collect();
        let mut missing = Missing::default();
        let frames = frames(&file, &addresses, true, &mut missing);
        (frames, missing)
    }

    fn names(frames: &[Frame]) -> Vec<&str> {
        frames.iter().map(|frame| frame.function.as_str()).collect()
    }

    #[test]
    fn inlined_functions_have_their_modules_whatever_the_debug_information_holds() {
        for (options, sum) in [
            (&["-Cdebuginfo=line-tables-only"][..], "orders::scan::sum"),
            (&["-Cdebuginfo=line-tables-only", "-Cincremental=parts"], "orders::scan::sum"),
            (&["-Cdebuginfo=2"], "orders::scan::Page::sum"),
            (&["-Cdebuginfo=2", "-Csymbol-mangling-version=v0"], "<orders::scan::Page>::sum"),
            (&["-Cdebuginfo=2", "-Csplit-debuginfo=packed"], "orders::scan::Page::sum"),
            (&["-Cdebuginfo=2", "-Csplit-debuginfo=unpacked"], "orders::scan::Page::sum"),
            (&["-Cdebuginfo=2", "-Clink-arg=-Wl,--compress-debug-sections=zlib"], "orders::scan::Page::sum"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (all, missing) = told(folder.path(), options);
            assert_eq!(missing.notes(), [""; 0], "{options:?}");
            let chain = [sum, "orders::scan::page", "orders::outer"];
            let inlined = all.iter().find(|frames| names(frames).ends_with(&chain));
            let Some(frames) = inlined else { panic!("{options:?}: {all:#?}") };
            let [.., sum, page, outer] = &frames[..] else { unreachable!() };
            for (frame, file) in [(sum, "src/scan.rs"), (page, "src/scan.rs"), (outer, "src/main.rs")] {
                assert!(frame.file.ends_with(file) && frame.line > 0, "{frame:?}");
            }
            for frames in &all {
                assert_eq!(frames.last().unwrap().function, "orders::outer", "the symbol's name");
                assert!(names(frames).iter().all(|name| name.contains("::")), "{options:?}: {frames:#?}");
            }
        }
    }

    #[test]
    fn what_can_not_be_read_is_told_and_the_rest_has_names() {
        let folder = tempfile::tempdir().unwrap();
        let (all, missing) = told(folder.path(), &["-Cdebuginfo=0", "-Cstrip=debuginfo"]);
        assert_eq!(missing.without_lines, [folder.path().join("orders/program").to_str().unwrap()]);
        assert!(all.iter().all(|frames| names(frames) == ["orders::outer"]));

        let folder = tempfile::tempdir().unwrap();
        let split = ["-Cdebuginfo=2", "-Csplit-debuginfo=unpacked"];
        told(folder.path(), &split);
        let program = folder.path().join("orders/program");
        for file in std::fs::read_dir(folder.path().join("orders")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "dwo") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let (_, notes) = super::super::in_file(&program, &[address_of_outer(&program)]);
        assert!(notes[0].contains("files of split debug information are not there"), "{notes:?}");
    }

    /// With several names for a place, one of them in the debug information.
    const ALIASES: &str = "
        .text
        .globl __copy, copy, copy_again
        .type __copy, @function
        .type copy, @function
        .type copy_again, @function
        __copy:
        copy:
        copy_again:     nop
                        nop
        .size __copy, . - __copy
        .size copy, . - copy
        .size copy_again, . - copy_again
        .section .note.GNU-stack, \"\", @progbits";

    #[test]
    fn of_several_names_a_function_has_the_same_with_lines_and_without() {
        let file = linked(ALIASES, &["-g"]);
        let elf = file.elf().unwrap();
        let address = elf.symbols().find(|symbol| symbol.name() == Ok("copy")).unwrap().address();
        for lines in [false, true] {
            let frames = frames(&file, &[address], lines, &mut Missing::default());
            assert_eq!((names(&frames[0]), frames[0][0].line > 0), (vec!["copy"], lines));
        }
    }

    #[test]
    fn no_file_makes_it_panic() {
        use proptest::prelude::*;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object.so");
        link(&path, ALIASES, &["-g", "-Wl,--compress-debug-sections=zlib"]);
        let good = std::fs::read(&path).unwrap();
        let damage = prop::collection::vec((0..good.len(), any::<u8>()), 1..40);
        proptest!(ProptestConfig::with_cases(200), |(damage in damage, cut in 0..2 * good.len())| {
            let mut bytes = good.clone();
            damage.into_iter().for_each(|(place, byte)| bytes[place] = byte);
            bytes.truncate(cut);
            std::fs::write(&path, &bytes).unwrap();
            let addresses = [0, 0x1000, 0x1001, 0x2000, u64::MAX];
            let (frames, _) = super::super::in_file(&path, &addresses);
            prop_assert_eq!(frames.len(), addresses.len());
        });
    }

    fn address_of_outer(program: &Path) -> u64 {
        let file = ObjectFile::open(program).unwrap();
        let elf = file.elf().unwrap();
        elf.symbols().find(|symbol| symbol.name().is_ok_and(|name| name.contains("outer"))).unwrap().address()
    }
}
