//! Files that have names: programs, libraries, or their debug information.

use std::path::{Path, PathBuf};

use object::{Object as _, ObjectSegment as _, SegmentFlags};
use stagelight_profiler::__pprof::{Frame, in_file, proto::Mapping};

/// A file, and what it is the file for.
pub struct Binary {
    pub path: PathBuf,
    /// In hexadecimal.
    pub build_id: String,
    /// Its executable segments.
    code: Vec<Segment>,
}

#[derive(Clone, Copy)]
struct Segment {
    address: u64,
    file_offset: u64,
}

impl Binary {
    pub fn open(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
        let file = object::File::parse(&bytes[..]).map_err(|error| failed(&error))?;
        let build_id = file.build_id().map_err(|error| failed(&error))?.ok_or_else(|| {
            failed(
                &"it has no build id, by which alone it is known to be the right one; link with `--build-id`",
            )
        })?;
        let code = file.segments().filter(
            |segment| matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags.0 & object::elf::PF_X.0 != 0),
        );
        Ok(Self {
            path: path.to_owned(),
            build_id: build_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            code: code
                .map(|segment| Segment { address: segment.address(), file_offset: segment.file_range().0 })
                .collect(),
        })
    }

    /// The frames at addresses in a mapping of this file, innermost first; none where nothing is known. With them, in
    /// sentences, what can't be read.
    pub fn frames(&self, mapping: &Mapping, addresses: &[u64]) -> (Vec<Vec<Frame>>, Vec<String>) {
        let Some(segment) = self.segment(mapping) else {
            return (vec![Vec::new(); addresses.len()], Vec::new());
        };
        let in_pages = segment.address / PAGE * PAGE;
        let addresses: Vec<u64> = addresses
            .iter()
            .map(|address| address.wrapping_sub(mapping.memory_start).wrapping_add(in_pages))
            .collect();
        in_file(&self.path, &addresses)
    }

    /// The segment that was mapped. A file of debug information has the segments of its program at the same addresses, but
    /// elsewhere in the file: if there is only one of code, it is that.
    fn segment(&self, mapping: &Mapping) -> Option<Segment> {
        match self.code[..] {
            [only] => Some(only),
            ref many => {
                many.iter().find(|segment| segment.file_offset / PAGE * PAGE == mapping.file_offset).copied()
            }
        }
    }
}

/// What the loader maps in.
const PAGE: u64 = 4096;
