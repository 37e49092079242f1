//! What is mapped where, and from which build: enough to find the names later, on a machine that has the symbols.

use std::sync::Arc;

use super::Mapping;
use crate::loaded::{self, Object};

/// The kernel's page of code in each process, in the place of a file, as perf and pprof call it.
pub(super) const VDSO: &str = "[vdso]";

/// All code that is loaded now, the program's first.
pub(crate) fn mappings() -> Vec<Arc<Mapping>> {
    const PAGE: u64 = 4096;
    let mut mappings = Vec::new();
    loaded::each(|object| {
        let path = match object.name() {
            name if name.is_empty() => program(object),
            name if name.starts_with("linux-vdso.so") => VDSO.into(),
            name => name,
        };
        let build_id = build_id(object);
        for header in object.headers(libc::PT_LOAD).filter(|header| header.p_flags & libc::PF_X != 0) {
            let place = object.place(header);
            mappings.push(Arc::new(Mapping {
                range: place.start / PAGE * PAGE..place.end.next_multiple_of(PAGE),
                file_offset: header.p_offset / PAGE * PAGE,
                bias: object.bias(),
                path: path.clone(),
                build_id: build_id.clone(),
            }));
        }
        true
    });
    mappings
}

/// The program's file. What the kernel started may be a loader that has loaded the program itself, so
/// that is told by where the program's code lies. Replaced, it keeps its name.
fn program(object: &Object<'_>) -> String {
    let code = object.headers(libc::PT_LOAD).find(|header| header.p_flags & libc::PF_X != 0);
    let code = code.map_or(0, |header| object.place(header).start);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let path = path_at(&maps, code).map(str::to_owned);
    path.unwrap_or_else(|| std::env::current_exe().unwrap_or_default().to_string_lossy().into_owned())
}

/// The path of what is mapped at an address, by lines such as
/// `55d0c8a00000-55d0c8a2f000 r-xp 00008000 08:01 655365    /usr/bin/orders (deleted)`.
fn path_at(maps: &str, address: u64) -> Option<&str> {
    let range = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let bound = |text| u64::from_str_radix(text, 16).ok();
        Some(bound(start)?..bound(end)?)
    };
    let line = maps.lines().find(|line| range(line).is_some_and(|range| range.contains(&address)))?;
    let path = &line[line.find('/')?..];
    Some(path.strip_suffix(" (deleted)").unwrap_or(path))
}

fn build_id(object: &Object<'_>) -> String {
    const BUILD_ID: u32 = 3;
    let id = object.notes().find(|note| note.kind == BUILD_ID && note.name == b"GNU\0");
    id.map(|id| id.content.iter().map(|byte| format!("{byte:02x}")).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_first_and_the_code_lies_in_it() {
        let mappings = mappings();
        let here = the_program_is_first_and_the_code_lies_in_it as *const () as u64;
        assert!(mappings[0].range.contains(&here), "{mappings:?}");
        let own = std::fs::read(&mappings[0].path).unwrap();
        let id: Vec<u8> = (0..mappings[0].build_id.len() / 2)
            .map(|byte| u8::from_str_radix(&mappings[0].build_id[byte * 2..byte * 2 + 2], 16).unwrap())
            .collect();
        assert!(id.len() >= 8 && own.windows(id.len()).any(|window| window == id), "{mappings:?}");
        let libc = mappings.iter().find(|mapping| mapping.path.contains("libc.so")).unwrap();
        assert!(libc.build_id.len() >= 16 && libc.file_offset > 0, "{libc:?}");
    }

    #[test]
    fn a_program_has_the_path_of_its_code() {
        let maps = "\
55d0c89f8000-55d0c8a00000 r--p 00000000 08:01 655365    /usr/bin/orders
55d0c8a00000-55d0c8a2f000 r-xp 00008000 08:01 655365    /usr/bin/or ders (deleted)
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
";
        assert_eq!(path_at(maps, 0x55d0_c8a0_0010), Some("/usr/bin/or ders"));
        assert_eq!(path_at(maps, 0x7f00_0000_0010), None);
        assert_eq!(path_at(maps, 0x10), None);
        assert_eq!(path_at("no lines", 0), None);
    }
}
