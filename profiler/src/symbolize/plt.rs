//! The linker's stubs, through which calls into other objects go. No symbol stands for them: what a
//! stub is for is told by the word that it jumps through, and by the relocation that fills that
//! word.

use object::elf::{SHF_ALLOC, STT_GNU_IFUNC};
use object::read::elf::{Rela as _, SectionHeader as _, Sym as _};
use object::{Object as _, ObjectSection as _};

use super::object_file::{CodeSection, Elf, code_sections};

/// What a stub goes by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The word at this address holds where it jumps to.
    Word(u64),
    /// It hands the number of a relocation in `.rela.plt` to the loader.
    Relocation(u32),
}

fn is_stubs(section: &CodeSection<'_>) -> bool {
    section.name.starts_with(b".plt") || section.name.starts_with(b".iplt")
}

/// Whether each address lies among stubs.
pub(super) fn are_stubs(elf: &Elf<'_>, addresses: &[u64]) -> Vec<bool> {
    let stubs: Vec<_> = code_sections(elf).into_iter().filter(is_stubs).collect();
    let is_stub = |address| stubs.iter().any(|section| section.range.contains(address));
    addresses.iter().map(is_stub).collect()
}

/// The name of the function that the stub at each address leads to, with `@plt` after it; `None`
/// where there is no stub, or it leads to no function that has a name.
pub(super) fn names(elf: &Elf<'_>, addresses: &[u64]) -> Vec<Option<String>> {
    let mut targets = targets(elf, addresses);
    let mut names = vec![None; addresses.len()];
    if targets.is_empty() {
        return names;
    }
    let endian = elf.endian();
    let table = elf.elf_section_table();
    let (dynamic, static_) = (elf.elf_dynamic_symbol_table(), elf.elf_symbol_table());
    for section in table.iter() {
        let Ok(Some((relocations, symbols))) = section.rela(endian, elf.data()) else { continue };
        if !section.sh_flags(endian).contains(SHF_ALLOC) {
            continue;
        }
        let is_lazy = table.section_name(endian, section).is_ok_and(|name| name == b".rela.plt");
        for (relocation, index) in relocations.iter().zip(0..) {
            let place = relocation.r_offset(endian);
            let is_its = |target: &Target| match *target {
                Target::Word(word) => word == place,
                Target::Relocation(number) => is_lazy && number == index,
            };
            let name = || match relocation.symbol(endian, false) {
                Some(symbol) => {
                    let table = if dynamic.section() == symbols { dynamic } else { static_ };
                    let symbol = table.symbol(symbol).ok()?;
                    symbol.name(endian, table.strings()).ok().filter(|name| !name.is_empty())
                }
                None => chooser(elf, relocation.r_addend(endian) as u64),
            };
            let mut found = None;
            targets.retain(|(target, address)| {
                let is_its = is_its(target);
                if is_its {
                    let name: &Option<&[u8]> = found.get_or_insert_with(name);
                    names[*address] = name.map(|name| format!("{}@plt", String::from_utf8_lossy(name)));
                }
                !is_its
            });
            if targets.is_empty() {
                return names;
            }
        }
    }
    names
}

/// The function that chooses among several as the program starts, which has the name of them all.
fn chooser<'a>(elf: &Elf<'a>, address: u64) -> Option<&'a [u8]> {
    let endian = elf.endian();
    [elf.elf_symbol_table(), elf.elf_dynamic_symbol_table()].into_iter().find_map(|table| {
        let is_it = |symbol: &&_| {
            let symbol: &object::elf::Sym64<_> = symbol;
            symbol.st_type() == STT_GNU_IFUNC && symbol.st_value(endian) == address
        };
        // Shortest first: `strlen`, and not `__strlen_ifunc`.
        let names = table.iter().filter(is_it).filter_map(|symbol| symbol.name(endian, table.strings()).ok());
        names.min_by_key(|name| (name.iter().take_while(|&&byte| byte == b'_').count(), name.len()))
    })
}

/// What the stubs at these addresses go by, with the address's place in the list.
fn targets(elf: &Elf<'_>, addresses: &[u64]) -> Vec<(Target, usize)> {
    let mut targets = Vec::new();
    for section in code_sections(elf).iter().filter(|section| is_stubs(section)) {
        let data = elf.section_by_index(object::SectionIndex(section.index)).and_then(|s| s.data());
        let Ok(code) = data else { continue };
        // Some linkers do not say how long a stub is.
        let length = if matches!(section.entry, 8 | 16) { section.entry } else { 16 };
        for (place, address) in addresses.iter().enumerate() {
            if !section.range.contains(address) {
                continue;
            }
            let start = (address - section.range.start) / length * length;
            let stub = code.get(start as usize..).unwrap_or_default();
            let stub = &stub[..stub.len().min(length as usize)];
            targets
                .extend(target(stub, section.range.start.wrapping_add(start)).map(|target| (target, place)));
        }
    }
    targets
}

/// What a stub of x86-64 goes by: `jmp *word(%rip)`, or, of those that only ask the loader, `push
/// $number`. Source: the psABI, "Procedure Linkage Table".
fn target(stub: &[u8], address: u64) -> Option<Target> {
    let jump = (0..stub.len()).find_map(|at| {
        let operand = stub[at..].strip_prefix(&[0xff, 0x25])?.first_chunk()?;
        let next = address.wrapping_add(at as u64 + 6);
        Some(Target::Word(next.wrapping_add_signed(i32::from_le_bytes(*operand).into())))
    });
    let ask = || {
        let code = stub.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(stub);
        let number = code.strip_prefix(&[0x68])?.first_chunk()?;
        Some(Target::Relocation(u32::from_le_bytes(*number)))
    };
    jump.or_else(ask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::tests::linked;

    /// Calls of two functions of the C library, in a section that is followed by others.
    const SOURCE: &str = r#"
        .text
        .globl calls
        .type calls, @function
        calls:  call getpid@PLT
                call getppid@PLT
                movq getpgrp@GOTPCREL(%rip), %rax
                call getpgrp@PLT
                ret
        .size calls, . - calls
        .section .note.GNU-stack, "", @progbits
    "#;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn stubs_of_each_form_have_the_name_of_their_function() {
        let forms: &[&[&str]] = &[
            &["-Wl,-z,lazy"],
            &["-Wl,-z,now"],
            &["-Wl,-z,lazy", "-Wl,-z,ibtplt"],
            &["-Wl,-z,now", "-Wl,-z,ibtplt"],
            &["-Wl,-z,lazy", "-s"],
        ];
        for form in forms {
            let file = linked(SOURCE, form);
            let elf = file.elf().unwrap();
            let stubs: Vec<_> = code_sections(&elf).into_iter().filter(is_stubs).collect();
            assert!(!stubs.is_empty(), "{form:?}");
            let mut seen: Vec<String> = Vec::new();
            for section in &stubs {
                let addresses: Vec<u64> = section.range.clone().collect();
                assert!(are_stubs(&elf, &addresses).iter().all(|is| *is));
                for (name, address) in names(&elf, &addresses).into_iter().zip(&addresses) {
                    let first = section.name == b".plt" && address - section.range.start < 16;
                    assert!(!first || name.is_none(), "the first stub is the loader's: {name:?}");
                    seen.extend(name);
                }
                let own = super::super::symbol_table::names(&[&elf], &addresses);
                assert!(own.iter().all(Option::is_none), "{form:?}: no symbol stands for a stub");
            }
            seen.sort();
            seen.dedup();
            assert_eq!(seen, ["getpgrp@plt", "getpid@plt", "getppid@plt"], "{form:?}");
            assert!(!are_stubs(&elf, &[0, u64::MAX]).contains(&true));
        }
    }

    /// A function of which one of several is chosen as the program starts.
    const CHOSEN: &str = r#"
        .text
        .type calls, @function
        calls:  call chosen@PLT
                ret
        .size calls, . - calls
        .globl chosen, __chosen
        .hidden chosen, __chosen
        .type chosen, @gnu_indirect_function
        .type __chosen, @gnu_indirect_function
        __chosen:
        chosen: leaq calls(%rip), %rax
                ret
        .size chosen, . - chosen
        .section .note.GNU-stack, "", @progbits
    "#;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_stub_for_a_function_that_is_chosen_has_the_name_of_all_of_them() {
        let file = linked(CHOSEN, &[]);
        let elf = file.elf().unwrap();
        let stubs = code_sections(&elf).into_iter().filter(is_stubs);
        let addresses: Vec<u64> = stubs.flat_map(|section| section.range).collect();
        let seen: std::collections::HashSet<String> = names(&elf, &addresses).into_iter().flatten().collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["chosen@plt"]);
    }

    #[test]
    fn bytes_that_are_no_stub_lead_nowhere() {
        assert!(target(&[], 0).is_none());
        assert!(target(&[0xff, 0x25, 1, 2, 3], u64::MAX - 5).is_none());
        assert!(target(&[0x90; 16], 0).is_none());
        assert!(target(&[0xff, 0x25, 0xff, 0xff, 0xff, 0xff], 0x1000) == Some(Target::Word(0x1005)));
    }
}
