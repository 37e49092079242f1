//! Names of the kernel's functions, by `/proc/kallsyms`: a line a symbol, of which there are some 100,000. It is read once
//! from its start to its end, and what is kept are the names that are wanted.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::sync::Arc;

use super::{KERNEL_PATH, Mapping};

/// Where the kernel's code lies: beyond all that a program can map, and below what stands for something else, such as the page
/// of old system calls, error numbers, and marks in call chains.
pub(crate) const KERNEL_CODE: Range<u64> = 0xffff_8000_0000_0000..0xffff_ffff_ff00_0000;

const PATH: &str = "/proc/kallsyms";

/// What the kernel's code lies in. Its build id is left out: by that and the mapping's start
/// addresses would be taken for the file's, and where the kernel lies this time is not said.
pub(super) fn mapping() -> Arc<Mapping> {
    Arc::new(Mapping {
        range: KERNEL_CODE,
        file_offset: 0,
        bias: 0,
        path: KERNEL_PATH.into(),
        build_id: String::new(),
    })
}

/// Why the kernel's functions have no names, if they haven't. Quick unless they haven't.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "there is no sampler"))]
pub(crate) fn hidden() -> Option<String> {
    match open().and_then(|lines| any_symbol(lines, |_| true)) {
        Ok(true) => None,
        Ok(false) => Some(format!(
            "names of kernel functions: {PATH} shows this process no addresses. It does with CAP_SYSLOG and \
             kernel.kptr_restrict at 1 or less, or with kernel.perf_event_paranoid at 1 or less and kernel.kptr_restrict at 0"
        )),
        Err(error) => Some(format!("names of kernel functions: {PATH} can't be read: {error}")),
    }
}

/// The names of the functions at addresses of the kernel, which are sorted; `None` where none is known.
pub(super) fn names(addresses: &[u64]) -> Vec<Option<String>> {
    let none = |_| vec![None; addresses.len()];
    if addresses.is_empty() {
        Vec::new()
    } else {
        open().and_then(|lines| find(lines, addresses)).unwrap_or_else(none)
    }
}

fn open() -> io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(64 << 10, File::open(PATH)?))
}

/// A symbol of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Symbol<'a> {
    address: u64,
    name: &'a str,
    /// Empty, or the module that it is of.
    module: &'a str,
    is_code: bool,
}

impl<'a> Symbol<'a> {
    /// `ffffffff81234560 T ksys_write`, or `ffffffffc0123450 t ext4_write [ext4]`. `None` for what does not lie where code may.
    fn of(line: &'a [u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let address =
            u64::from_str_radix(words.next()?, 16).ok().filter(|address| KERNEL_CODE.contains(address))?;
        let kind = words.next()?;
        let name = words.next()?;
        let module = words.next().unwrap_or("");
        // What comes after the code's end is none, though a kernel may not say what it is.
        let is_code = matches!(kind, "t" | "T" | "w" | "W") && !matches!(name, "_etext" | "_einittext");
        Some(Self { address, name, module, is_code })
    }

    /// Of several names for an address, the highest: one of code, and the least internal.
    fn rank(&self) -> (u64, bool, Reverse<usize>) {
        let underscores = self.name.bytes().take_while(|byte| *byte == b'_').count();
        (self.address, self.is_code, Reverse(underscores))
    }
}

/// Whether a symbol fulfils a condition. Looks no further than to the first.
fn any_symbol(mut lines: impl BufRead, mut condition: impl FnMut(Symbol<'_>) -> bool) -> io::Result<bool> {
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if Symbol::of(&line).is_some_and(&mut condition) {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

/// No function of the kernel is longer. What lies farther behind a symbol is in none, but in what has
/// no symbol, such as a module that was unloaded or a program that was made at run time.
const LONGEST: u64 = 256 << 10;

/// The function that each address lies in is the one that begins last before it. Symbols come in no order.
fn find(lines: impl BufRead, addresses: &[u64]) -> io::Result<Vec<Option<String>>> {
    /// What begins last between an address that is wanted and the one before it.
    #[derive(Default)]
    struct Last {
        rank: (u64, bool, Reverse<usize>),
        name: String,
    }
    let mut lasts: Vec<Last> = addresses.iter().map(|_| Last::default()).collect();
    any_symbol(lines, |symbol| {
        let place = addresses.partition_point(|&address| address < symbol.address);
        if let Some(last) = lasts.get_mut(place)
            && symbol.rank() > last.rank
        {
            last.rank = symbol.rank();
            last.name.clear();
            last.name.push_str(symbol.name);
            if !symbol.module.is_empty() {
                last.name.extend([" ", symbol.module]);
            }
        }
        false
    })?;
    let mut present = None;
    let name = |(last, wanted): (Last, &u64)| {
        let (address, is_code, _) = last.rank;
        if address != 0 {
            present = is_code.then_some((address, last.name));
        }
        let near = |(address, _): &&(u64, String)| wanted - address < LONGEST;
        present.as_ref().filter(near).map(|(_, name)| name.clone())
    };
    Ok(lasts.into_iter().zip(addresses).map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T start
ffffffff81000100 t __do_write
ffffffff81000100 T do_write
ffffffff81000100 T ___do_write
ffffffff81000200 T _etext
ffffffff82000000 D data
ffffffffc0000100 t module_read\t[zfs]
ffffffffc0000000 t module_write\t[zfs]
no line
ffffffffff600000 T vsyscall
";

    fn found(addresses: &[u64]) -> Vec<Option<String>> {
        find(TABLE.as_bytes(), addresses).unwrap()
    }

    #[test]
    fn an_address_has_the_name_of_what_begins_last_before_it() {
        let code = 0xffff_ffff_8100_0000;
        let module = 0xffff_ffff_c000_0000;
        let addresses = [
            code - 1,
            code,
            code + 0xff,
            code + 0x100,
            code + 0x1ff,
            code + 0x200,
            0xffff_ffff_8200_0001,
            module + 8,
            module + 9,
            module + 0x180,
            module + 0x100 + LONGEST,
        ];
        let names = found(&addresses);
        let names: Vec<&str> = names.iter().map(|name| name.as_deref().unwrap_or("")).collect();
        let expected = [
            "",
            "start",
            "start",
            "do_write",
            "do_write",
            "",
            "",
            "module_write [zfs]",
            "module_write [zfs]",
            "module_read [zfs]",
            "",
        ];
        assert_eq!(names, expected);
        assert!(found(&[]).is_empty());
    }

    #[test]
    fn addresses_that_are_hidden_give_no_names() {
        let hidden = "0000000000000000 T _stext\n0000000000000000 T do_write\n";
        assert_eq!(find(hidden.as_bytes(), &[KERNEL_CODE.start]).unwrap(), [None]);
        assert!(
            !any_symbol(hidden.as_bytes(), |_| true).unwrap()
                && any_symbol(TABLE.as_bytes(), |_| true).unwrap()
        );
    }

    #[test]
    fn the_running_kernels_functions_have_names_or_it_is_said_why_not() {
        let known = || {
            let text = std::fs::read_to_string(PATH).ok()?;
            let symbol = |line: &str| {
                Symbol::of(line.as_bytes()).filter(|s| s.is_code).map(|s| (s.address, s.name.len()))
            };
            text.lines().find_map(symbol)
        };
        match hidden() {
            Some(why) => assert!(known().is_none() && why.contains(PATH), "{why}"),
            None => assert!(names(&[known().unwrap().0]).iter().all(Option::is_some)),
        }
    }

    proptest! {
        #[test]
        fn any_lines_are_read(lines in prop::collection::vec(any::<u8>(), 0..300), address in any::<u64>()) {
            let names = find(&lines[..], &[address]).unwrap();
            prop_assert_eq!(names.len(), 1);
        }

        /// As by looking through a sorted table.
        #[test]
        fn in_any_order_the_last_before_an_address_is_found(
            starts in prop::collection::hash_set(0_u64..100, 1..20),
            mut wanted in prop::collection::vec(0_u64..120, 0..20),
        ) {
            let at = |place: u64| 0xffff_ffff_8100_0000 + place;
            let table: String = starts.iter().map(|start| format!("{:x} t f{start}\n", at(*start))).collect();
            wanted.sort_unstable();
            wanted.dedup();
            let addresses: Vec<u64> = wanted.iter().map(|place| at(*place)).collect();
            let found = find(table.as_bytes(), &addresses).unwrap();
            for (place, found) in wanted.iter().zip(found) {
                let last = starts.iter().filter(|start| *start <= place).max();
                prop_assert_eq!(found, last.map(|start| format!("f{start}")));
            }
        }
    }
}
