//! The path by which a user's crate reaches the sdk.
//!
//! It is `::stagelight`, unless the attribute says `crate = …` or the user's Cargo.toml gives the
//! dependency another name: `sl = { package = "stagelight" }`.

use std::path::{Path, PathBuf};

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote};

/// The sdk's name at crates.io, and of its library.
const PACKAGE: &str = "stagelight";

/// What an attribute writes before the names of ours.
pub(crate) fn sdk_path(said: Option<&syn::Path>) -> TokenStream {
    if let Some(path) = said {
        return path.to_token_stream();
    }
    let name = renamed().unwrap_or_else(|| PACKAGE.to_owned());
    let name = Ident::new(&name, Span::call_site());
    quote!(::#name)
}

/// The name that the crate under compilation gives to the sdk, if it gives one.
///
/// What can't be read or understood is no rename: the compiler then says that it finds no `stagelight`.
fn renamed() -> Option<String> {
    let folder = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    match find(&manifest) {
        Found::Renamed(name) => Some(name),
        Found::Nothing => None,
        Found::Inherited => {
            let root = folder.ancestors().skip(1).find_map(workspace)?;
            let shared = inherited(&manifest);
            renames(&root).find(|name| shared.contains(name)).map(|name| name.replace('-', "_"))
        }
    }
}

/// The manifest in a folder, if it is a workspace's.
fn workspace(folder: &Path) -> Option<String> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    manifest.lines().any(|line| line.trim_start().starts_with("[workspace")).then_some(manifest)
}

#[derive(Debug, PartialEq)]
enum Found {
    Renamed(String),
    /// The sdk is not renamed here, and some dependencies are said in the workspace's manifest.
    Inherited,
    Nothing,
}

fn find(manifest: &str) -> Found {
    // A crate that has the sdk under its own name uses that one.
    if entries(manifest).any(|entry| entry.name == PACKAGE && !entry.text.contains("package")) {
        return Found::Nothing;
    }
    if let Some(name) = renames(manifest).next() {
        return Found::Renamed(name.replace('-', "_"));
    }
    if inherited(manifest).is_empty() { Found::Nothing } else { Found::Inherited }
}

/// The names under which a manifest has the sdk by `package = "stagelight"`.
fn renames(manifest: &str) -> impl Iterator<Item = String> {
    entries(manifest).filter(|entry| names_package(&entry.text)).map(|entry| entry.name)
}

/// The dependencies that are said in the workspace's manifest.
fn inherited(manifest: &str) -> Vec<String> {
    let is_inherited = |entry: &Entry| {
        let text: String = entry.text.split_whitespace().collect();
        text.contains("workspace=true")
    };
    entries(manifest).filter(is_inherited).map(|entry| entry.name).collect()
}

fn names_package(text: &str) -> bool {
    text.split("package").skip(1).any(|rest| {
        let value = rest.trim_start().strip_prefix('=').map(str::trim_start);
        value.is_some_and(|value| {
            ['"', '\''].iter().any(|quote| {
                value.strip_prefix(*quote).and_then(|value| value.split_once(*quote)).map(|pair| pair.0)
                    == Some(PACKAGE)
            })
        })
    })
}

/// A dependency and what is said of it.
struct Entry {
    name: String,
    text: String,
}

/// The dependencies of all kinds, for all targets. It reads lines and no TOML: an inline table stands in
/// one line, and a table of its own below its header.
fn entries(manifest: &str) -> impl Iterator<Item = Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let (mut in_list, mut in_table) = (false, false);
    for line in manifest.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            // `dependencies`, `target.'cfg(unix)'.dev-dependencies`, `dependencies.sl`.
            let (before, last) = header.rsplit_once('.').unwrap_or(("", header));
            in_list = last.trim().ends_with("dependencies");
            in_table = !in_list && before.trim().ends_with("dependencies");
            if in_table {
                entries.push(Entry { name: unquoted(last), text: String::new() });
            }
        } else if in_list && let Some((name, text)) = line.split_once('=') {
            // `sl.workspace = true` says it of `sl`.
            let (name, dotted) = name.split_once('.').unwrap_or((name, ""));
            entries.push(Entry { name: unquoted(name), text: format!("{dotted}={text}") });
        } else if in_table && let Some(entry) = entries.last_mut() {
            entry.text.push_str(line);
            entry.text.push('\n');
        }
    }
    entries.into_iter()
}

fn unquoted(name: &str) -> String {
    name.trim().trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(manifest: &str) -> Option<String> {
        match find(manifest) {
            Found::Renamed(name) => Some(name),
            _ => None,
        }
    }

    #[test]
    fn a_rename_is_found_in_every_form_that_cargo_takes() {
        for manifest in [
            "[dependencies]\nstage-light = { version = \"0.1\", package = \"stagelight\" }",
            "[dependencies.stage-light]\nversion = \"0.1\"\npackage = 'stagelight'",
            "[target.'cfg(unix)'.dependencies]\n\"stage-light\" = {package=\"stagelight\"} # why",
            "[dependencies]\nserde = \"1\"\n[dev-dependencies]\nstage-light.package = \"stagelight\"",
        ] {
            assert_eq!(renamed(manifest).as_deref(), Some("stage_light"), "{manifest}");
        }
    }

    #[test]
    fn what_is_no_rename_is_none() {
        for manifest in [
            "[package]\nname = \"stagelight\"",
            "[dependencies]\nstagelight = \"0.1\"\nother = { package = \"stagelight-macros\" }",
            "[dependencies]\n# sl = { package = \"stagelight\" }\nserde = \"1\"",
            "[dependencies]\nstagelight = \"0.1\"\n[dev-dependencies]\nsl = { package = \"stagelight\" }",
            "",
        ] {
            assert_eq!(find(manifest), Found::Nothing, "{manifest}");
        }
    }

    #[test]
    fn an_inherited_dependency_is_looked_up_in_the_workspace() {
        let member = "[dependencies]\nsl.workspace = true\nserde = { workspace = true }";
        assert_eq!(find(member), Found::Inherited);
        assert_eq!(inherited(member), ["sl", "serde"]);
        let root = "[workspace.dependencies]\nsl = { version = \"0.1\", package = \"stagelight\" }";
        assert_eq!(renames(root).collect::<Vec<_>>(), ["sl"]);
    }
}
