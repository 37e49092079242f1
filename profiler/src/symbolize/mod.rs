//! Addresses to names, lines and inlined functions. Runs on the thread that asks for the profile, never on a
//! sampled one, and keeps nothing afterwards.

/// A function at a place in its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) function: String,
    /// Empty if unknown.
    pub(crate) file: String,
    /// 0 if unknown.
    pub(crate) line: u32,
}

/// The frames at each address, innermost first; at least one, named by the address if nothing better is known.
#[cfg(target_os = "linux")]
pub(crate) fn symbolize(addresses: &[u64]) -> Vec<Vec<Frame>> {
    use blazesym::Pid;
    use blazesym::symbolize::source::{Process, Source};
    use blazesym::symbolize::{Input, Symbolizer};

    let source = |debug_syms| {
        let mut process = Process::new(Pid::Slf);
        // The files by their names: the kernel's own links to them need a privilege.
        process.map_files = false;
        process.perf_map = false;
        process.debug_syms = debug_syms;
        Source::Process(process)
    };
    let (full, names_only) = (source(true), source(false));
    // Made anew each time, so that the memory of the parsed debug information is given back.
    let symbolizer = Symbolizer::new();
    if let Ok(symbols) = symbolizer.symbolize(&full, Input::AbsAddr(addresses)) {
        return symbols.iter().zip(addresses).map(|(symbol, &address)| frames(symbol, address)).collect();
    }
    // One object that can't be read fails them all, so each address is tried by itself, then without the debug
    // information, which is what mostly can't be read.
    let one = |&address: &u64| {
        let symbol = symbolizer
            .symbolize_single(&full, Input::AbsAddr(address))
            .or_else(|_| symbolizer.symbolize_single(&names_only, Input::AbsAddr(address)));
        symbol.map_or_else(|_| vec![unknown(address)], |symbol| frames(&symbol, address))
    };
    addresses.iter().map(one).collect()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn symbolize(addresses: &[u64]) -> Vec<Vec<Frame>> {
    addresses.iter().map(|&address| vec![unknown(address)]).collect()
}

fn unknown(address: u64) -> Frame {
    Frame { function: format!("{address:#x}"), file: String::new(), line: 0 }
}

#[cfg(target_os = "linux")]
fn frames(symbol: &blazesym::symbolize::Symbolized<'_>, address: u64) -> Vec<Frame> {
    use blazesym::symbolize::CodeInfo;

    let Some(symbol) = symbol.as_sym() else { return vec![unknown(address)] };
    let frame = |name: &str, code: Option<&CodeInfo<'_>>| Frame {
        function: name.to_owned(),
        file: code.map(|code| code.to_path().to_string_lossy().into_owned()).unwrap_or_default(),
        line: code.and_then(|code| code.line).unwrap_or(0),
    };
    let inlined = symbol.inlined.iter().rev().map(|inlined| frame(&inlined.name, inlined.code_info.as_ref()));
    inlined.chain([frame(&symbol.name, symbol.code_info.as_deref())]).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_to_find() {}

    #[test]
    fn names_are_demangled_and_the_unknown_is_an_address() {
        let frames = symbolize(&[a_function_to_find as *const () as u64, 0x10]);
        let found = frames[0].last().unwrap();
        assert!(found.function.ends_with("tests::a_function_to_find"), "{found:?}");
        assert_eq!(frames[1][0].function, "0x10");
    }
}
