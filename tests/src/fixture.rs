//! Crates outside the workspace that tests build: with other features, editions or targets than its members.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::target_dir;

/// A copy of `tests/fixtures/NAME`, where it may be built.
#[derive(Debug)]
pub struct Fixture {
    folder: PathBuf,
    name: &'static str,
}

/// The root of the workspace.
///
/// # Panics
/// Never: the tests lie in a folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

/// Cargo, without what the one that runs this test says to it.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("RUSTFLAGS");
    cargo
}

impl Fixture {
    /// Copies the fixture to the target folder. Its paths to the workspace's crates, `../../../sdk`, become
    /// absolute, and it gets the workspace's lock file, so that nothing new is fetched.
    ///
    /// # Panics
    /// If a file can't be copied.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let folder = target_dir().join("fixtures").join(name);
        copy(&root().join("tests/fixtures").join(name), &folder);
        std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("the lock file is copied");
        Self { folder, name }
    }

    /// Cargo in the fixture's folder: give it a command and its options. What it builds goes to a target folder
    /// of the fixture's own.
    #[must_use]
    pub fn cargo(&self, command: &str) -> Command {
        let mut cargo = cargo();
        cargo.arg(command).args(["--offline", "--target-dir"]).arg(self.target()).current_dir(&self.folder);
        cargo
    }

    /// The target folder.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        target_dir().join("fixtures/build").join(self.name)
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder is made in the target folder");
    for entry in std::fs::read_dir(from).expect("the fixture is read").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else if from.extension().is_some_and(|extension| extension == "toml") {
            let manifest = std::fs::read_to_string(&from).expect("the manifest is read");
            let root = root();
            let root = root.to_str().expect("the workspace's path is text");
            std::fs::write(to, manifest.replace("../../..", root)).expect("the manifest is written");
        } else {
            std::fs::copy(from, to).expect("a file is copied");
        }
    }
}
