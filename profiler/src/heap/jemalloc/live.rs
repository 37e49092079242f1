//! jemalloc's live samples, by a dump.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsRawFd, FromRawFd};

use super::super::live::Found;
use super::super::pseudo_frame;
use super::{control, dump, file_size};
use crate::error::Error;

pub(super) fn live() -> Result<Found, Error> {
    let mut found = Found::default();
    let take = |stack: &dump::DumpStack, interval| {
        let (frames, context) = pseudo_frame::split(&stack.addresses);
        let [objects, bytes] = dump::unbias(stack, interval);
        let sum = found.sums.entry((frames.into(), context.context)).or_default();
        sum[0] += objects;
        sum[1] += bytes;
        found.samples += stack.objects;
        found.complete += if context.complete { stack.objects } else { 0 };
    };
    // Line by line: as text it takes as much memory as all that is made of it.
    found.interval = dump::read(BufReader::with_capacity(64 << 10, dumped()?), take)
        .map_err(|error| Error::Unsupported(format!("jemalloc's heap dump is not understood: {error}")))?;
    Ok(found)
}

/// Has jemalloc write its dump to memory: no disk is touched, and nothing is left behind whatever fails.
fn dumped() -> Result<File, Error> {
    let file = memory_file().map_err(|error| Error::Io("no memory file for the heap dump".into(), error))?;
    let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
    let _alone = super::dumping();
    // SAFETY: the manual gives `const char *`, a path, which outlives the call.
    let dump = || unsafe { control::write(c"prof.dump", path.as_ptr()) };
    let (dumped, beyond_limit) = file_size::guarded(dump);
    if beyond_limit {
        let why = "the process may not write files as large as the heap dump; allow more by RLIMIT_FSIZE";
        return Err(Error::Refused(format!("no heap profile: {why}")));
    }
    dumped.map_err(|error| Error::Unsupported(format!("jemalloc could not dump its samples: {error}")))?;
    // jemalloc opened the file by its path and left our own position at the start.
    Ok(file)
}

/// A file in memory that can't be executed, without which `vm.memfd_noexec=2` refuses it.
fn memory_file() -> io::Result<File> {
    const MFD_NOEXEC_SEAL: libc::c_uint = 8;
    // SAFETY: the name is null-terminated.
    let create =
        |flags| unsafe { libc::memfd_create(c"stagelight-heap".as_ptr(), libc::MFD_CLOEXEC | flags) };
    let mut fd = create(MFD_NOEXEC_SEAL);
    // A kernel before 6.3 knows no such flag.
    if fd < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        fd = create(0);
    }
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, which is ours alone.
    Ok(unsafe { File::from_raw_fd(fd) })
}
