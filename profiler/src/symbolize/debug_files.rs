//! Where the names and lines of an object are that does not hold them itself: in the file that its
//! debug information was parted into, in one that several objects share, or in a package of what
//! each unit was compiled to.

use std::path::{Path, PathBuf};

use object::Object as _;

use super::object_file::{Elf, ObjectFile, build_id};

/// Where distributions put them. Source: gdb's manual, "Debugging Information in Separate Files".
const DIRECTORY: &str = "/usr/lib/debug";

/// The file of a build id, if there is one.
fn by_id(id: &str) -> Option<PathBuf> {
    let (first, rest) = id.split_at_checked(2).filter(|(_, rest)| !rest.is_empty())?;
    let file = Path::new(DIRECTORY).join(".build-id").join(first).join(format!("{rest}.debug"));
    Some(file).filter(|file| file.exists())
}

/// The folder that a file lies in, wherever links to it do.
fn folder(file: &ObjectFile) -> Option<PathBuf> {
    Some(std::fs::canonicalize(file.path()).ok()?.parent()?.to_owned())
}

/// The file with an object's symbols and debug information, if it was parted from them.
pub(super) fn apart(file: &ObjectFile, elf: &Elf<'_>) -> Option<ObjectFile> {
    let id = build_id(elf);
    if let Some(path) = by_id(&id) {
        return ObjectFile::open(&path).ok();
    }
    let (name, checksum) = elf.gnu_debuglink().ok()??;
    let name = std::str::from_utf8(name).ok()?;
    let folder = folder(file)?;
    let in_debug = Path::new(DIRECTORY).join(folder.strip_prefix("/").ok()?);
    let places = [folder.join(name), folder.join(".debug").join(name), in_debug.join(name)];
    let is_its = |apart: &ObjectFile| match apart.elf().map(|apart| build_id(&apart)) {
        Ok(other) if !id.is_empty() || !other.is_empty() => id == other,
        Ok(_) => apart.checksum() == checksum,
        Err(_) => false,
    };
    places.iter().filter_map(|path| ObjectFile::open(path).ok()).find(is_its)
}

/// The file that holds what the debug information of several objects has in common, if this one's
/// refers to such.
///
/// # Errors
/// If it does and the file is not there.
pub(super) fn shared(file: &ObjectFile, elf: &Elf<'_>) -> Result<Option<ObjectFile>, String> {
    let Some((name, id)) = elf.gnu_debugaltlink().ok().flatten() else { return Ok(None) };
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = Path::new(std::str::from_utf8(name).unwrap_or_default());
    let named = folder(file).map(|folder| folder.join(name));
    let is_it = |shared: &ObjectFile| shared.elf().is_ok_and(|elf| build_id(&elf) == id);
    let places = named.into_iter().chain(by_id(&id));
    let found = places.filter_map(|path| ObjectFile::open(&path).ok()).find(is_it);
    found.map(Some).ok_or_else(|| format!("{}, which it refers to, is not there", name.display()))
}

/// The package of split debug information that belongs to a program, if there is one: `orders.dwp`
/// beside `orders`.
pub(super) fn package(file: &ObjectFile) -> Option<ObjectFile> {
    let mut path = std::fs::canonicalize(file.path()).ok()?.into_os_string();
    path.push(".dwp");
    ObjectFile::open(Path::new(&path)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_leads_to_its_file() {
        assert_eq!(by_id(""), None);
        assert_eq!(by_id("ab"), None);
        assert_eq!(by_id("é"), None);
        assert_eq!(by_id("0123456789abcdef"), None, "nothing is installed for it");
    }
}
