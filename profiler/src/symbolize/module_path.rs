//! The path of the module that a Rust function is in, by its source file: `orders::scan` of
//! `orders/src/scan/mod.rs`.
//!
//! Where line tables are all that was asked of the compiler, which is the default of release builds
//! with lines, an inlined function has a bare name in the debug information, and nothing else says
//! where it belongs. Which crate a file is of is told by the units, each of which names its crate
//! and that crate's first file; for a crate that has none, all of whose code was generic or
//! inlined, by Cargo's layout.

use addr2line::gimli::{self, EndianSlice, RunTimeEndian};

/// The crates that an object was made of.
#[derive(Default)]
pub(super) struct Crates {
    /// The path of each crate's first file, and its name. Libraries before programs.
    roots: Vec<(String, String)>,
}

impl Crates {
    pub(super) fn of(dwarf: &gimli::Dwarf<EndianSlice<'_, RunTimeEndian>>) -> Self {
        let mut crates = Self::default();
        let mut units = dwarf.units();
        while let Ok(Some(header)) = units.next() {
            let Ok(unit) = dwarf.unit(header) else { continue };
            let text =
                |text: Option<EndianSlice<'_, _>>| text.map(|text| text.to_string_lossy().into_owned());
            if let Some(name) = text(unit.name) {
                crates.add(&text(unit.comp_dir).unwrap_or_default(), &name);
            }
        }
        crates.roots.sort_by_key(|(root, _)| !root.ends_with("/lib.rs"));
        crates
    }

    /// Notes the crate of a unit, which `rustc` names `src/main.rs/@/orders.4f1c2-cgu.0`. Where it
    /// compiles incrementally, a hash stands there that says nothing.
    fn add(&mut self, folder: &str, unit: &str) {
        let Some((root, name)) = unit.split_once("/@/") else { return };
        let Some((name, _)) = name.split_once('.') else { return };
        let root = if root.starts_with('/') { root.to_owned() } else { format!("{folder}/{root}") };
        if !self.roots.iter().any(|(known, _)| *known == root) {
            self.roots.push((root, name.to_owned()));
        }
    }

    /// The module of a file, as `orders::scan`; empty if it is no Rust file.
    pub(super) fn module(&self, file: &str) -> String {
        let Some(stem) = file.strip_suffix(".rs") else { return String::new() };
        if let Some((_, name)) = self.roots.iter().find(|(root, _)| root == file) {
            return name.clone();
        }
        // The crate whose first file lies in the innermost folder around this one.
        let within = |(root, name): &'_ (String, String)| {
            let folder = &root[..=root.rfind('/')?];
            stem.starts_with(folder).then(|| (folder.len(), name.clone()))
        };
        let mut best = None::<(usize, String)>;
        for found in self.roots.iter().filter_map(within) {
            if best.as_ref().is_none_or(|(length, _)| found.0 > *length) {
                best = Some(found);
            }
        }
        let (name, rest) = match best {
            Some((length, name)) => (name, stem[length..].to_owned()),
            None => by_layout(stem),
        };
        let parts = rest.split('/').filter(|part| !part.is_empty());
        let mut path = vec![name.as_str()];
        path.extend(parts);
        // A module's first file has its folder's name.
        if path.len() > 1 && matches!(path.last(), Some(&("mod" | "lib" | "main"))) {
            path.pop();
        }
        path.join("::")
    }
}

/// A crate's name by where Cargo has its files, and the file's place in it.
fn by_layout(stem: &str) -> (String, String) {
    let parts: Vec<&str> = stem.split('/').filter(|part| !part.is_empty()).collect();
    let last = parts.len().saturating_sub(1);
    let program = |at: usize| (as_crate(parts[at]), parts[at + 1..].join("/"));
    if let Some(at) = parts[..last].iter().rposition(|part| *part == "src") {
        if parts.get(at + 1) == Some(&"bin") && at + 2 < parts.len() {
            return program(at + 2);
        }
        let package = match at {
            0 => "crate",
            // `git/checkouts/orders-4f1c2a/7d9e0b1/src`
            _ if at >= 3 && parts[at - 3] == "checkouts" => {
                parts[at - 2].rsplit_once('-').map_or(parts[at - 2], |(name, _)| name)
            }
            _ => parts[at - 1],
        };
        return (as_crate(without_version(package)), parts[at + 1..].join("/"));
    }
    let is_folder = |part: &&str| matches!(*part, "examples" | "tests" | "benches");
    if let Some(at) = parts[..last].iter().rposition(is_folder) {
        return program(at + 1);
    }
    (as_crate(parts.last().unwrap_or(&"")), String::new())
}

/// Of `orders-0.3.1`, as Cargo's registry has it, `orders`.
fn without_version(package: &str) -> &str {
    let is_version = |(_, version): &(&str, &str)| {
        version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.')
    };
    // A version may have dashes itself.
    let cuts = package.match_indices('-').map(|(at, _)| (&package[..at], &package[at + 1..]));
    cuts.into_iter().find(is_version).map_or(package, |(name, _)| name)
}

fn as_crate(package: &str) -> String {
    package.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_module_is_told_by_the_units_and_else_by_cargos_layout() {
        let mut crates = Crates::default();
        crates.add("/home/db", "sdk/src/lib.rs/@/stagelight.4f1c2a-cgu.3");
        crates.add("/home/db", "sdk/src/lib.rs/@/stagelight.4f1c2a-cgu.4");
        crates.add("/home/db", "examples/src/bin/leak.rs/@/leak.77aa-cgu.0");
        crates.add("/rustc/5980", "library/core/src/lib.rs/@/core.1-cgu.0");
        crates.add("/home/db", "vendor/zlib/inflate.c");
        crates.add("/home/db", "examples/leak/main.rs/@/04rq0hnwpoaxo4tdxsjjg0xji");
        for (file, module) in [
            ("/home/db/sdk/src/lib.rs", "stagelight"),
            ("/home/db/sdk/src/record/guard/mod.rs", "stagelight::record::guard"),
            ("/home/db/examples/leak/main.rs", "leak"),
            ("/home/db/sdk/src/clock.rs", "stagelight::clock"),
            ("/home/db/examples/src/bin/leak.rs", "leak"),
            ("/rustc/5980/library/core/src/slice/index.rs", "core::slice::index"),
            ("/rustc/5980/library/alloc/src/vec/mod.rs", "alloc::vec"),
            (
                "/home/user/.cargo/registry/src/index-1/parking_lot-0.12.3/src/raw_mutex.rs",
                "parking_lot::raw_mutex",
            ),
            ("/home/user/.cargo/registry/src/index-1/wild-fire-1.0.0-rc.1/src/lib.rs", "wild_fire"),
            ("/home/user/.cargo/git/checkouts/key-value-0123ab/7d9e0b1/src/page.rs", "key_value::page"),
            ("/home/other/src/main.rs", "other"),
            ("/home/other/src/bin/serve.rs", "serve"),
            ("/home/other/src/bin/serve/page.rs", "serve::page"),
            ("/home/other/tests/compare.rs", "compare"),
            ("src/scan.rs", "crate::scan"),
            ("leak.rs", "leak"),
            ("/home/db/vendor/zlib/inflate.c", ""),
            (".rs", ""),
            ("", ""),
        ] {
            assert_eq!(crates.module(file), module, "{file}");
        }
    }
}
