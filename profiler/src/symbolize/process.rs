//! Names of addresses in this process.

use std::path::Path;

use super::mappings::{VDSO, mappings};
use super::object_file::{ObjectFile, build_id};
use super::object_frames::{Missing, frames};
use super::{Mapping, Symbolized, Symbols};

/// What is known of each address, object by object. Addresses are sorted.
pub(super) fn symbolize(addresses: &[u64], lines: bool) -> Symbolized {
    let mappings = mappings();
    // What lies in none, as code that was made at run time, is no object's.
    let mapping = |address: &u64| mappings.iter().find(|mapping| mapping.range.contains(address)).cloned();
    let mut symbols: Vec<Symbols> =
        addresses.iter().map(|address| Symbols { mapping: mapping(address), frames: Vec::new() }).collect();
    let mut missing = Missing::default();
    for (number, object) in mappings.iter().enumerate() {
        // An object may have several mappings.
        let is_same = |other: &Mapping| other.bias == object.bias && other.path == object.path;
        if mappings[..number].iter().any(|earlier| is_same(earlier)) {
            continue;
        }
        let is_its = |index: &usize| symbols[*index].mapping.as_deref().is_some_and(is_same);
        let its: Vec<usize> = (0..addresses.len()).filter(is_its).collect();
        if its.is_empty() {
            continue;
        }
        let file = match file_of(object) {
            Ok(file) => file,
            Err(why) => {
                missing.unread.push(format!("no names of functions in {}: {why}", object.path));
                continue;
            }
        };
        let own: Vec<u64> = its.iter().map(|&index| addresses[index].wrapping_sub(object.bias)).collect();
        for (frames, index) in frames(&file, &own, lines, &mut missing).into_iter().zip(its) {
            symbols[index].frames = frames;
        }
    }
    Symbolized { symbols, notes: missing.notes() }
}

/// The file that a mapping is of, and not one that has taken its place since.
fn file_of(mapping: &Mapping) -> Result<ObjectFile, String> {
    /// The program that runs, though another may have its name by now, or none.
    const PROGRAM: &str = "/proc/self/exe";
    if mapping.path == VDSO {
        return ObjectFile::vdso().ok_or_else(|| "its memory is not in /proc/self/maps".into());
    }
    let open = |path: &str| {
        let file = ObjectFile::open(Path::new(path))?.named(&mapping.path);
        match build_id(&file.elf()?) {
            id if id == mapping.build_id => Ok(file),
            id => Err(format!(
                "the file is not the one that was loaded: its build id is {id:?}, not {:?}",
                mapping.build_id
            )),
        }
    };
    open(&mapping.path).or_else(|why| open(PROGRAM).map_err(|_| why))
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, CString};

    use super::*;
    use crate::symbolize::tests::link;

    /// Addresses all over the code of this process, sorted.
    fn all_over() -> Vec<u64> {
        let ranges = mappings().into_iter().map(|mapping| mapping.range.clone());
        let mut addresses: Vec<u64> = ranges.flat_map(|range| range.step_by(4093)).collect();
        addresses.sort_unstable();
        addresses
    }

    fn name(symbols: &Symbols) -> Option<&str> {
        symbols.frames.last().map(|frame| frame.function.as_str())
    }

    fn within(mapping: &str, address: u64) -> bool {
        mappings().iter().any(|known| known.path.contains(mapping) && known.range.contains(&address))
    }

    #[test]
    fn a_function_has_the_same_name_with_lines_and_without() {
        let mut addresses = all_over();
        for function in [c"clone", c"malloc", c"memcpy", c"write", c"pthread_create"] {
            // SAFETY: the name ends in a null byte.
            let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, function.as_ptr()) };
            addresses.push(address as u64);
        }
        addresses.sort_unstable();
        let [without, with] = [false, true].map(|lines| symbolize(&addresses, lines).symbols);
        let names = without.iter().zip(&with).map(|(without, with)| (name(without), name(with)));
        assert!(names.clone().filter(|(without, _)| without.is_some()).count() > 100);
        for ((without, with), address) in names.zip(&addresses) {
            assert_eq!(without, with, "{address:#x}");
        }
        assert!(without.iter().flat_map(|symbols| &symbols.frames).all(|frame| frame.line == 0));
        assert!(with.iter().flat_map(|symbols| &symbols.frames).any(|frame| frame.line > 0));
    }

    #[test]
    fn of_several_names_a_function_has_the_one_that_programs_use() {
        // SAFETY: the name ends in a null byte.
        let malloc = unsafe { libc::dlsym(libc::RTLD_NEXT, c"write".as_ptr()) } as u64;
        let symbols = symbolize(&[malloc], false).symbols;
        assert_eq!(name(&symbols[0]), Some("write"), "and not `__write`, which is its name as well");
    }

    #[test]
    fn code_that_was_made_at_run_time_has_no_name_and_no_object() {
        let (length, code) = (4096, libc::PROT_READ | libc::PROT_EXEC);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping of the kernel's choice touches nothing that exists.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), length, code, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        let symbols = symbolize(&[page as u64 + 8], true).symbols;
        assert!(symbols[0].frames.is_empty() && symbols[0].mapping.is_none());
        // SAFETY: the mapping is this test's.
        unsafe { libc::munmap(page, length) };
    }

    #[test]
    fn the_kernels_page_in_the_process_has_names_where_its_functions_are() {
        let Some(page) = mappings().into_iter().find(|mapping| mapping.path == VDSO) else { return };
        let addresses: Vec<u64> = page.range.clone().collect();
        let Symbolized { symbols, notes } = symbolize(&addresses, true);
        let named = symbols.iter().filter(|symbols| !symbols.frames.is_empty()).count();
        assert!(symbols.iter().any(|symbols| name(symbols) == Some("clock_gettime")), "{notes:?}");
        assert!(named < addresses.len(), "its headers are no function");
        assert!(symbols[0].frames.is_empty());
    }

    #[test]
    fn a_file_that_has_taken_the_place_of_the_loaded_one_names_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("victim.so");
        let source = |body: &str| {
            format!(
                ".text\n.globl victim\n.type victim, @function\nvictim: {body}\n.size victim, . - victim\n"
            )
        };
        let build_id = "-Wl,--build-id=sha1";
        link(&path, &source("nop\n nop\n ret"), &[build_id]);
        let text = CString::new(path.to_str().unwrap()).unwrap();
        let address = |name: &CStr| {
            // SAFETY: the texts end in null bytes, and the library has nothing that runs as it is
            // loaded.
            unsafe { libc::dlsym(libc::dlopen(text.as_ptr(), libc::RTLD_NOW), name.as_ptr()) as u64 }
        };
        let address = address(c"victim");
        let named = symbolize(&[address], false);
        assert_eq!((name(&named.symbols[0]), &named.notes[..]), (Some("victim"), &[][..]));
        let other = folder.path().join("other.so");
        link(&other, &source("nop\n ret"), &[build_id]);
        std::fs::rename(&other, &path).unwrap();
        let after = symbolize(&[address], false);
        assert!(after.symbols[0].frames.is_empty() && within("victim.so", address));
        assert!(
            after.notes[0].contains("victim.so: the file is not the one that was loaded"),
            "{:?}",
            after.notes
        );
        std::fs::remove_file(&path).unwrap();
        let gone = symbolize(&[address], false);
        assert!(gone.notes[0].contains("can't be read"), "{:?}", gone.notes);
    }

    #[test]
    fn what_lies_in_no_function_has_no_name() {
        let program = mappings().remove(0);
        let file = file_of(&program).unwrap();
        let elf = file.elf().unwrap();
        let sections = super::super::object_file::code_sections(&elf);
        // A linker fills the gaps between functions; the last address of a section is in none, or
        // its own.
        for section in &sections {
            let end = section.range.end - 1 + program.bias;
            for symbols in symbolize(&[end], false).symbols {
                let name = name(&symbols).unwrap_or_default().to_owned();
                let is_fini = section.name == b".fini";
                assert_eq!(name == "_fini", is_fini, "{name} in {}", String::from_utf8_lossy(section.name));
            }
        }
    }
}
