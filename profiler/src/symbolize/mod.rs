//! Addresses to names and lines. Runs on the thread that asks for the profile, never on a sampled one, and keeps
//! nothing afterwards.

/// A function at a place in its source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    pub(crate) function: String,
    /// Empty if unknown.
    pub(crate) file: String,
    /// 0 if unknown.
    pub(crate) line: u32,
}

/// The function at each address, named by the address if nothing better is known.
///
/// Names come from the symbol table, which stock release builds keep and which has them with their paths; line
/// tables, where there are any, have bare ones. Functions that were inlined count as what they were inlined into.
#[cfg(target_os = "linux")]
pub(crate) fn symbolize(addresses: &[u64]) -> Vec<Frame> {
    use blazesym::Pid;
    use blazesym::symbolize::source::{Process, Source};
    use blazesym::symbolize::{Sym, Symbolizer};

    let source = |debug_syms| {
        let mut process = Process::new(Pid::Slf);
        // The files by their names: the kernel's own links to them need a privilege.
        process.map_files = false;
        process.perf_map = false;
        process.debug_syms = debug_syms;
        Source::Process(process)
    };
    // Made anew each time, so that the memory of the parsed symbols is given back.
    let symbolizer = Symbolizer::builder().enable_inlined_fns(false).build();
    let (names, lines) = (source(false), source(true));
    let names = resolve(&symbolizer, &names, addresses);
    let lines = resolve(&symbolizer, &lines, addresses);
    let frame = |((name, line), &address): ((Option<Sym<'_>>, Option<Sym<'_>>), &u64)| {
        let Some(symbol) = name.as_ref().or(line.as_ref()) else { return unknown(address) };
        let code = line.as_ref().and_then(|line| line.code_info.as_deref());
        Frame {
            function: symbol.name.clone().into_owned(),
            file: code.map(|code| code.to_path().to_string_lossy().into_owned()).unwrap_or_default(),
            line: code.and_then(|code| code.line).unwrap_or(0),
        }
    };
    names.into_iter().zip(lines).zip(addresses).map(frame).collect()
}

/// All addresses at once, or, as one object that can't be read fails them all, each by itself.
#[cfg(target_os = "linux")]
fn resolve<'a>(
    symbolizer: &'a blazesym::symbolize::Symbolizer,
    source: &blazesym::symbolize::source::Source<'_>,
    addresses: &[u64],
) -> Vec<Option<blazesym::symbolize::Sym<'a>>> {
    use blazesym::symbolize::{Input, Symbolized};

    if let Ok(symbols) = symbolizer.symbolize(source, Input::AbsAddr(addresses)) {
        return symbols.into_iter().map(Symbolized::into_sym).collect();
    }
    let one = |&address: &u64| symbolizer.symbolize_single(source, Input::AbsAddr(address)).ok()?.into_sym();
    addresses.iter().map(one).collect()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn symbolize(addresses: &[u64]) -> Vec<Frame> {
    addresses.iter().map(|&address| unknown(address)).collect()
}

fn unknown(address: u64) -> Frame {
    Frame { function: format!("{address:#x}"), file: String::new(), line: 0 }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_to_find() {}

    #[test]
    fn names_are_demangled_with_their_paths_and_the_unknown_is_an_address() {
        let frames = symbolize(&[a_function_to_find as *const () as u64, 0x10]);
        assert_eq!(frames[0].function, concat!(module_path!(), "::a_function_to_find"));
        assert!(frames[0].file.ends_with(file!()) && frames[0].line > 0, "{:?}", frames[0]);
        assert_eq!(frames[1].function, "0x10");
    }
}
