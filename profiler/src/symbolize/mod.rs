//! Addresses to names and lines. Runs on the thread that asks for the profile, never on a sampled one, and keeps
//! nothing afterwards.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};

#[cfg(target_os = "linux")]
mod debug_files;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod mappings;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use kernel::{KERNEL_CODE, hidden as kernel_names_hidden};

/// A function at a place in its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its name, demangled.
    pub function: String,
    /// Empty if unknown.
    pub file: String,
    /// 0 if unknown.
    pub line: u32,
}

impl Frame {
    pub(crate) fn named(function: impl Into<String>) -> Self {
        Frame { function: function.into(), file: String::new(), line: 0 }
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
    /// The functions, innermost first: those that were inlined, then the one that they were inlined into. None if it has
    /// no name.
    pub(crate) frames: Vec<Frame>,
}

/// The functions at each address of this process and, after those, of the kernel.
///
/// Names come from the symbol table, which stock release builds keep and which has them with their paths. With `lines` the
/// debug information is read as well, where there is any: it adds files, lines and inlined functions, whose names it
/// has bare, and takes twice as long.
#[cfg(target_os = "linux")]
pub(crate) fn symbolize(addresses: &[u64], lines: bool) -> Vec<Symbols> {
    use kernel::KERNEL_CODE;

    let [start, end] = [KERNEL_CODE.start, KERNEL_CODE.end]
        .map(|bound| addresses.partition_point(|&address| address < bound));
    let mut all = of_process(&addresses[..start], lines);
    if start < end {
        let mapping = kernel::mapping();
        all.extend(kernel::names(&addresses[start..end]).into_iter().map(|name| Symbols {
            mapping: Some(Arc::clone(&mapping)),
            frames: name.into_iter().map(Frame::named).collect(),
        }));
    }
    // What stands for something else.
    all.extend(addresses[end..].iter().map(|_| Symbols::default()));
    all
}

#[cfg(target_os = "linux")]
fn of_process(addresses: &[u64], lines: bool) -> Vec<Symbols> {
    use blazesym::Pid;
    use blazesym::symbolize::source::Process;

    let source = |debug_syms| {
        let mut process = Process::new(Pid::Slf);
        // The files by their names: the kernel's own links to them need a privilege.
        process.map_files = false;
        process.perf_map = false;
        process.debug_syms = debug_syms;
        Source::Process(process)
    };
    let mappings = mappings::mappings();
    let symbols = |(frames, address): (Vec<Frame>, &u64)| Symbols {
        mapping: mappings.iter().find(|mapping| mapping.range.contains(address)).cloned(),
        frames,
    };
    let kind: AddressKind = |all| Input::AbsAddr(all);
    let frames = if lines {
        look_up([source(false), source(true)], kind, addresses)
    } else {
        names(source, kind, addresses, &mappings)
    };
    frames.into_iter().zip(addresses).map(symbols).collect()
}

/// The functions, with lines and inlined ones, at each address of an executable, a library or a file of its debug
/// information. Innermost first; none where nothing is known.
#[must_use]
pub fn in_file(file: &Path, addresses: &[u64]) -> Vec<Vec<Frame>> {
    let source = |debug_syms| {
        let mut elf = Elf::new(file);
        elf.debug_syms = debug_syms;
        Source::Elf(elf)
    };
    look_up([source(false), source(true)], |all| Input::VirtOffset(all), addresses)
}

/// One kind of address.
type AddressKind = for<'a> fn(&'a [u64]) -> Input<&'a [u64]>;

/// The name at each address: by the symbol table, or else that of a file of its own, or, of an object of which nothing is named so,
/// by its debug information.
#[cfg(target_os = "linux")]
fn names(
    source: impl Fn(bool) -> Source<'static>,
    kind: AddressKind,
    addresses: &[u64],
    mappings: &[Arc<Mapping>],
) -> Vec<Vec<Frame>> {
    // Made anew each time, so that the memory of the parsed symbols is given back.
    let symbolizer = || Symbolizer::builder().enable_inlined_fns(false).build();
    let named = |symbol: Option<Sym<'_>>| -> Vec<Frame> {
        symbol.map(|symbol| Frame::named(&*symbol.name)).into_iter().collect()
    };
    let table = symbolizer();
    let by_table = resolve(&table, &source(false), kind, addresses);
    let mut frames: Vec<Vec<Frame>> = by_table.into_iter().map(named).collect();
    drop(table);
    debug_files::complete(&mut frames, addresses, mappings);
    let is_nameless = |mapping: &Arc<Mapping>| {
        let mut within = frames.iter().zip(addresses).filter(|(_, address)| mapping.range.contains(address));
        within.all(|(frames, _)| frames.is_empty())
    };
    let nameless: Vec<&Arc<Mapping>> = mappings.iter().filter(|mapping| is_nameless(mapping)).collect();
    let wanted = |index: &usize| nameless.iter().any(|mapping| mapping.range.contains(&addresses[*index]));
    let wanted: Vec<usize> = (0..addresses.len()).filter(wanted).collect();
    let rest: Vec<u64> = wanted.iter().map(|&index| addresses[index]).collect();
    if !rest.is_empty() {
        let debug = symbolizer();
        for (symbol, index) in resolve(&debug, &source(true), kind, &rest).into_iter().zip(wanted) {
            frames[index] = named(symbol);
        }
    }
    frames
}

/// The frames at each address by two sources: the symbol table alone, and with the debug information.
fn look_up([table, debug]: [Source<'_>; 2], kind: AddressKind, addresses: &[u64]) -> Vec<Vec<Frame>> {
    let symbolizer = Symbolizer::builder().enable_inlined_fns(true).build();
    let names = resolve(&symbolizer, &table, kind, addresses);
    let details = resolve(&symbolizer, &debug, kind, addresses);
    names.iter().zip(&details).map(|(name, detail)| frames(name.as_ref(), detail.as_ref())).collect()
}

/// All addresses at once, or, as one object that can't be read fails them all, each by itself.
fn resolve<'a>(
    symbolizer: &'a Symbolizer,
    source: &Source<'_>,
    kind: AddressKind,
    addresses: &[u64],
) -> Vec<Option<Sym<'a>>> {
    if let Ok(symbols) = symbolizer.symbolize(source, kind(addresses)) {
        return symbols.into_iter().map(Symbolized::into_sym).collect();
    }
    let one = |address: &u64| {
        let symbols = symbolizer.symbolize(source, kind(std::slice::from_ref(address))).ok()?;
        symbols.into_iter().next()?.into_sym()
    };
    addresses.iter().map(one).collect()
}

/// The frames that a symbol table's entry and the debug information make together.
fn frames(name: Option<&Sym<'_>>, detail: Option<&Sym<'_>>) -> Vec<Frame> {
    let frame = |function: &str, code: Option<&CodeInfo<'_>>| Frame {
        function: function.to_owned(),
        file: code.map(|code| code.to_path().to_string_lossy().into_owned()).unwrap_or_default(),
        line: code.and_then(|code| code.line).unwrap_or(0),
    };
    let Some(symbol) = name.or(detail) else { return Vec::new() };
    let Some(detail) = detail else { return vec![Frame::named(&*symbol.name)] };
    let inlined = detail.inlined.iter().rev();
    let mut frames: Vec<Frame> =
        inlined.map(|inlined| frame(&inlined.name, inlined.code_info.as_ref())).collect();
    frames.push(frame(&symbol.name, detail.code_info.as_deref()));
    frames
}

/// Nothing is sampled elsewhere.
#[cfg(not(target_os = "linux"))]
pub(crate) fn symbolize(addresses: &[u64], _lines: bool) -> Vec<Symbols> {
    addresses.iter().map(|_| Symbols::default()).collect()
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

    #[test]
    fn names_are_demangled_with_their_paths_and_the_unknown_has_none() {
        let symbols = symbolize(&[a_function_to_find as *const () as u64, 0x10], false);
        assert_eq!(symbols[0].frames, [Frame::named(concat!(module_path!(), "::a_function_to_find"))]);
        let own = std::env::current_exe().unwrap();
        assert_eq!(symbols[0].mapping.as_ref().unwrap().path, own.to_str().unwrap());
        assert!(symbols[1].frames.is_empty() && symbols[1].mapping.is_none());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn with_lines_the_inlined_stand_within_what_they_were_inlined_into() {
        let frames = symbolize(&[inlined_into()], true).remove(0).frames;
        let names: Vec<&str> = frames.iter().map(|frame| frame.function.as_str()).collect();
        assert!(names.len() >= 3 && names[names.len() - 2].ends_with("inlined"), "{names:?}");
        assert_eq!(names[names.len() - 1], concat!(module_path!(), "::inlined_into"));
        let [.., inner, outer] = &frames[..] else { unreachable!() };
        assert!(inner.file.ends_with(file!()) && outer.file.ends_with(file!()), "{frames:?}");
        assert!(inner.line > 0 && inner.line < outer.line, "{frames:?}");
    }
}
