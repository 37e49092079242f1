//! Addresses to names and lines. Runs on the thread that asks for the profile, never on a sampled
//! one, and keeps nothing afterwards.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

mod debug_files;
mod debug_info;
mod debug_sections;
mod demangle;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod mappings;
mod module_path;
mod object_file;
mod object_frames;
mod plt;
#[cfg(target_os = "linux")]
mod process;
mod split_units;
mod symbol_table;
mod unwind_ranges;

use object_file::ObjectFile;
use object_frames::Missing;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use kernel::{KERNEL_CODE, hidden as kernel_names_hidden};

/// A function at a place in its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its name, demangled.
    pub function: String,
    /// What the linker calls it; empty if that is not known or the same.
    pub system_name: String,
    /// Empty if unknown.
    pub file: String,
    /// 0 if unknown.
    pub line: u32,
}

impl Frame {
    pub(crate) fn named(function: impl Into<String>) -> Self {
        Frame { function: function.into(), system_name: String::new(), file: String::new(), line: 0 }
    }
}

/// The code of a loaded object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mapping {
    /// Addresses, in whole pages.
    pub(crate) range: Range<u64>,
    /// Where in the file the first of them lies.
    pub(crate) file_offset: u64,
    /// What is added to the file's addresses to have those in memory.
    pub(crate) bias: u64,
    pub(crate) path: String,
    /// In hexadecimal; empty if the linker wrote none.
    pub(crate) build_id: String,
}

/// The kernel's code in the place of a file, as perf and pprof call it.
pub(crate) const KERNEL_PATH: &str = "[kernel.kallsyms]";

impl Mapping {
    /// Whether it is the kernel's.
    pub(crate) fn is_kernel(&self) -> bool {
        self.path == KERNEL_PATH
    }
}

/// What is known of an address.
#[derive(Default)]
pub(crate) struct Symbols {
    /// The object that it lies in.
    pub(crate) mapping: Option<Arc<Mapping>>,
    /// The functions, innermost first: those that were inlined, then the one that they were inlined
    /// into. None if it has no name.
    pub(crate) frames: Vec<Frame>,
}

/// What is known of each of several addresses, and what could not be had.
#[derive(Default)]
pub(crate) struct Symbolized {
    pub(crate) symbols: Vec<Symbols>,
    /// Which names and lines are missing, and why, in sentences.
    pub(crate) notes: Vec<String>,
}

/// The functions at each address of this process and, after those, of the kernel. Addresses are
/// sorted.
///
/// Names come from the symbol table, which stock release builds keep and which has them with their
/// paths. With `lines` the debug information is read as well, where there is any: it adds files,
/// lines and inlined functions, and takes twice as long.
#[cfg(target_os = "linux")]
pub(crate) fn symbolize(addresses: &[u64], lines: bool) -> Symbolized {
    use kernel::KERNEL_CODE;

    let [start, end] = [KERNEL_CODE.start, KERNEL_CODE.end]
        .map(|bound| addresses.partition_point(|&address| address < bound));
    let mut all = process::symbolize(&addresses[..start], lines);
    if start < end {
        let mapping = kernel::mapping();
        all.symbols.extend(kernel::names(&addresses[start..end]).into_iter().map(|name| Symbols {
            mapping: Some(Arc::clone(&mapping)),
            frames: name.into_iter().map(Frame::named).collect(),
        }));
    }
    // What stands for something else.
    all.symbols.extend(addresses[end..].iter().map(|_| Symbols::default()));
    all
}

/// The functions, with lines and inlined ones, at each address of an executable, a library or a
/// file of its debug information. Innermost first; none where nothing is known. With them, in
/// sentences, what can't be read.
#[must_use]
pub fn in_file(file: &Path, addresses: &[u64]) -> (Vec<Vec<Frame>>, Vec<String>) {
    let file = match ObjectFile::open(file) {
        Ok(file) => file,
        Err(error) => return (vec![Vec::new(); addresses.len()], vec![error]),
    };
    let mut order: Vec<usize> = (0..addresses.len()).collect();
    order.sort_by_key(|&index| addresses[index]);
    let sorted: Vec<u64> = order.iter().map(|&index| addresses[index]).collect();
    let mut missing = Missing::default();
    let mut frames = vec![Vec::new(); addresses.len()];
    let found = object_frames::frames(&file, &sorted, true, &mut missing);
    for (found, index) in found.into_iter().zip(order) {
        frames[index] = found;
    }
    (frames, missing.notes())
}

/// Nothing is sampled elsewhere.
#[cfg(not(target_os = "linux"))]
pub(crate) fn symbolize(addresses: &[u64], _lines: bool) -> Symbolized {
    let symbols = addresses.iter().map(|_| Symbols::default()).collect();
    Symbolized { symbols, notes: Vec::new() }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_to_find() {}

    #[inline(always)]
    fn inlined() -> u64 {
        crate::unwind::Registers::here().ip
    }

    #[inline(never)]
    fn inlined_into() -> u64 {
        inlined()
    }

    /// Assembles a text and links it to an object that others can load.
    pub(super) fn link(object: &Path, source: &str, options: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text.s");
        std::fs::write(&text, source).unwrap();
        let mut linker = std::process::Command::new("cc");
        linker.args(["-shared", "-nostdlib", "-o"]).arg(object).arg(&text).args(options);
        assert!(linker.status().unwrap().success(), "{linker:?}");
    }

    /// The same, opened.
    pub(super) fn linked(source: &str, options: &[&str]) -> ObjectFile {
        let folder = tempfile::tempdir().unwrap();
        let object = folder.path().join("object.so");
        link(&object, source, options);
        // The mapping keeps it.
        ObjectFile::open(&object).unwrap()
    }

    #[test]
    fn names_are_demangled_with_their_paths_and_the_unknown_has_none() {
        let mut addresses = [a_function_to_find as *const () as u64, 0x10];
        addresses.sort_unstable();
        let mut symbols = symbolize(&addresses, false).symbols;
        symbols.reverse();
        let [frame] = &symbols[0].frames[..] else { panic!("{:?}", symbols[0].frames) };
        assert_eq!(frame.function, concat!(module_path!(), "::a_function_to_find"));
        assert!(frame.system_name.starts_with("_") && frame.system_name.contains("a_function_to_find"));
        assert_eq!((frame.file.as_str(), frame.line), ("", 0));
        let own = std::env::current_exe().unwrap();
        assert_eq!(symbols[0].mapping.as_ref().unwrap().path, own.to_str().unwrap());
        assert!(symbols[1].frames.is_empty() && symbols[1].mapping.is_none());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn with_lines_the_inlined_stand_within_what_they_were_inlined_into() {
        let frames = symbolize(&[inlined_into()], true).symbols.remove(0).frames;
        let names: Vec<&str> = frames.iter().map(|frame| frame.function.as_str()).collect();
        assert!(names.len() >= 3, "{names:?}");
        assert_eq!(names[names.len() - 2], concat!(module_path!(), "::inlined"));
        assert_eq!(names[names.len() - 1], concat!(module_path!(), "::inlined_into"));
        let [.., inner, outer] = &frames[..] else { unreachable!() };
        assert!(inner.file.ends_with(file!()) && outer.file.ends_with(file!()), "{frames:?}");
        assert!(inner.line > 0 && inner.line < outer.line, "{frames:?}");
    }
}
