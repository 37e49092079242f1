//! The function at an address by an object's symbol tables. A table is read once from its start to
//! its end, and nothing of it is kept but what is asked for.
//!
//! The nearest symbol is often the wrong one: an address that lies between two functions, in a stub
//! of the linker's, or in a function whose symbol was stripped belongs to neither neighbour. So a
//! symbol names what its size covers, in its own section. One without a size, as hand-written
//! assembly has them, names what lies between it and the next symbol or the end of a sized one, if
//! the unwind tables know of no other function there.

use std::cmp::Reverse;

use object::elf::{STB_LOCAL, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE};
use object::read::elf::{Sym as _, SymbolTable};

use super::object_file::{CodeSection, Elf, code_sections};
use super::unwind_ranges;

/// What makes one of several names for a place the better one: that it is a function's, that others
/// may see it, that it begins with few underscores, and that it is short; then the alphabet.
type Rank<'a> = (bool, bool, Reverse<usize>, Reverse<usize>, Reverse<&'a [u8]>);

/// A symbol of code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Symbol<'a> {
    /// First, so that of two the inner one is the greater.
    start: u64,
    rank: Rank<'a>,
    name: &'a [u8],
    /// Where it ends: by its size, or with its section.
    end: u64,
    sized: bool,
}

impl<'a> Symbol<'a> {
    fn covers(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// What is known of an address after all symbols were seen.
#[derive(Clone, Default)]
struct Nearest<'a> {
    /// The innermost symbol with a size that covers it.
    covering: Option<Symbol<'a>>,
    /// The last symbol without a size that begins between the address before it, exclusive, and it.
    unsized_before: Option<Symbol<'a>>,
    /// The last end of a symbol with a size there.
    last_end: u64,
}

/// The linker's name of the function at each address of a file, and `None` where none is known.
/// Addresses are sorted. Several files of the same build are looked through as one.
pub(super) fn names<'a>(files: &[&Elf<'a>], addresses: &[u64]) -> Vec<Option<&'a [u8]>> {
    let mut all = vec![Nearest::default(); addresses.len()];
    for elf in files {
        let sections = code_sections(elf);
        for table in [elf.elf_symbol_table(), elf.elf_dynamic_symbol_table()] {
            each(elf, table, &sections, |symbol| note(symbol, addresses, &mut all));
        }
    }
    let (mut before, mut last_end) = (None::<Symbol<'a>>, 0);
    let name = |(nearest, &address): (Nearest<'a>, &u64)| {
        before = nearest.unsized_before.or(before);
        last_end = last_end.max(nearest.last_end);
        let reaches = |symbol: &Symbol<'_>| {
            symbol.covers(address)
                && symbol.start >= last_end
                && !another_function(files, symbol.start, address)
        };
        nearest.covering.or_else(|| before.filter(reaches)).map(|symbol| symbol.name)
    };
    all.into_iter().zip(addresses).map(name).collect()
}

/// Whether the unwind tables part an address from a symbol without a size before it: another function
/// begins in between, or the symbol's own has ended.
fn another_function(files: &[&Elf<'_>], start: u64, address: u64) -> bool {
    let function = files.iter().find_map(|elf| unwind_ranges::last_before(elf, address));
    function.is_some_and(|range| start < range.start || range.contains(&start) && !range.contains(&address))
}

fn note<'a>(symbol: Symbol<'a>, addresses: &[u64], all: &mut [Nearest<'a>]) {
    let from = |bound: u64| addresses.partition_point(|&address| address < bound);
    let start = from(symbol.start);
    if !symbol.sized {
        if let Some(nearest) = all.get_mut(start) {
            nearest.unsized_before = nearest.unsized_before.max(Some(symbol));
        }
        return;
    }
    let end = from(symbol.end);
    for nearest in &mut all[start..end] {
        nearest.covering = nearest.covering.max(Some(symbol));
    }
    if let Some(nearest) = all.get_mut(end) {
        nearest.last_end = nearest.last_end.max(symbol.end);
    }
}

/// Visits the symbols that lie in sections of code.
fn each<'a>(
    elf: &Elf<'a>,
    table: &SymbolTable<'a, object::elf::FileHeader64<object::Endianness>>,
    sections: &[CodeSection<'_>],
    mut visit: impl FnMut(Symbol<'a>),
) {
    let endian = elf.endian();
    for (index, symbol) in table.enumerate() {
        let kind = symbol.st_type();
        if !matches!(kind, STT_FUNC | STT_GNU_IFUNC | STT_NOTYPE) {
            continue;
        }
        let Ok(Some(section)) = table.symbol_section(endian, symbol, index) else { continue };
        let Some(section) = sections.iter().find(|code| code.index == section.0) else { continue };
        let (start, size) = (symbol.st_value(endian), symbol.st_size(endian));
        if !section.range.contains(&start) {
            continue;
        }
        let name = symbol.name(endian, table.strings()).unwrap_or_default();
        // Of `memcpy@@GLIBC_2.14` the version is no part of the name.
        let name = name.splitn(2, |&byte| byte == b'@').next().unwrap_or_default();
        // The latter mark code and data among the instructions.
        if name.is_empty() || name[0] == b'$' {
            continue;
        }
        let underscores = name.iter().take_while(|&&byte| byte == b'_').count();
        let is_seen = symbol.st_bind() != STB_LOCAL;
        let rank = (kind != STT_NOTYPE, is_seen, Reverse(underscores), Reverse(name.len()), Reverse(name));
        let end = match size {
            0 => section.range.end,
            size => start.saturating_add(size).min(section.range.end),
        };
        visit(Symbol { start, rank, name, end, sized: size > 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::tests::linked;

    /// Functions with and without sizes, gaps, names for the same place, data, and sections.
    const SOURCE: &str = r#"
        .text
        .globl sized
        .type sized, @function
        sized:          nop
                        nop
        inner_label:    nop
                        nop
        .size sized, . - sized
                        nop                     # unnamed_1: after a size's end
        .type unsized, @function
        unsized:        nop
                        nop
        .globl __alias, alias, _alias_too
        .type __alias, @function
        .type alias, @function
        .type _alias_too, @function
        .type local, @function
        local:
        __alias:
        alias:
        _alias_too:     nop
                        nop
        .size __alias, 2
        .size alias, 2
        .size _alias_too, 2
        .size local, 2
        label_in_gap:   nop
        .globl outer
        .type outer, @function
        .type within, @function
        outer:          nop
        within:         nop
        .size within, 1
                        nop
        .size outer, . - outer
        .type last, @function
        last:           nop
        .type unwound, @function
        unwound:        .cfi_startproc
                        nop
                        .cfi_endproc
                        nop                     # unnamed_2: after the function's end
                        .cfi_startproc
                        nop                     # unnamed_3: a function whose symbol was stripped
                        .cfi_endproc
        .section other_code, "ax", @progbits
                        nop                     # unnamed_4: the first of its section
        .globl other
        other:          nop
        .section .data, "aw"
        .globl data
        .type data, @object
        data:           .quad 0
    "#;

    #[test]
    fn a_symbol_names_what_its_size_or_its_section_covers() {
        let file = linked(SOURCE, &[]);
        let elf = file.elf().unwrap();
        let text = code_sections(&elf).into_iter().find(|section| section.name == b".text").unwrap();
        let other = code_sections(&elf).into_iter().find(|section| section.name == b"other_code").unwrap();
        let expected = [
            "sized",
            "sized",
            "sized",
            "sized", // A label within is no function.
            "-",
            "unsized",
            "unsized",
            "alias",
            "alias",
            "label_in_gap",
            "outer",
            "within",
            "outer",
            "last",
            "unwound",
            "-",
            "-",
        ];
        let addresses: Vec<u64> = (text.range.start..).take(expected.len()).collect();
        let shown = |addresses: &[u64]| -> Vec<String> {
            let name = |name: Option<&[u8]>| String::from_utf8_lossy(name.unwrap_or(b"-")).into_owned();
            names(&[&elf], addresses).into_iter().map(name).collect()
        };
        assert_eq!(shown(&addresses), expected);
        assert_eq!(shown(&[other.range.start, other.range.start + 1]), ["-", "other"]);
        assert_eq!(shown(&[text.range.end, other.range.end, u64::MAX]), ["-", "-", "-"]);
        for (address, expected) in addresses.iter().zip(expected) {
            assert_eq!(shown(&[*address]), [expected], "each by itself as all together");
        }
        assert!(shown(&[]).is_empty());
    }
}
