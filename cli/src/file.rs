//! Profiles in files.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use prost::Message as _;
use stagelight_profiler::__pprof::proto::Profile;

/// Reads pprof, gzipped or not.
pub fn read(path: &Path) -> Result<Profile, String> {
    const GZIP: &[u8] = &[0x1f, 0x8b];
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    if bytes.starts_with(GZIP) {
        let mut raw = Vec::new();
        GzDecoder::new(&bytes[..]).read_to_end(&mut raw).map_err(|error| failed(&error))?;
        bytes = raw;
    }
    Profile::decode(&bytes[..]).map_err(|error| failed(&format!("not a pprof profile: {error}")))
}

/// Writes gzipped pprof.
pub fn write(path: &Path, profile: &Profile) -> Result<(), String> {
    let write = || {
        let mut gzip = GzEncoder::new(File::create(path)?, Compression::default());
        gzip.write_all(&profile.encode_to_vec())?;
        gzip.finish()?.sync_all()
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}
