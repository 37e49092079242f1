//! The files that a run leaves, each written on its own: one that can't be costs no other.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

pub struct Files {
    folder: PathBuf,
    pub written: Vec<PathBuf>,
    /// With the reason.
    pub failed: Vec<(PathBuf, io::Error)>,
}

impl Files {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), written: Vec::new(), failed: Vec::new() }
    }

    /// Writes a file, or notes why it could not be.
    pub fn write(&mut self, name: &str, content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        let path = self.folder.join(name);
        match write(&path, content) {
            Ok(()) => self.written.push(path),
            Err(error) => {
                // Half a file would be taken for a whole one.
                let _ = fs::remove_file(&path);
                self.failed.push((path, error));
            }
        }
    }
}

fn write(path: &Path, content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    content(&mut file)?;
    file.flush()
}
