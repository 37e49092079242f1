//! The live heap at one moment, from a dump of jemalloc's samples.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::SystemTime;

use super::activation::{self, Active};
use super::dump::{self, Dump};
use super::{allocator_frames, file_size, focus, jemalloc, pseudo_frame};
use crate::error::Error;
use crate::profile::{Context, Kind, Profile, ProfileStats, Raw};

/// Objects and bytes by stack and context.
pub(super) type Sums = HashMap<(Box<[u64]>, (u32, u32)), [i64; 2]>;

/// The live heap's sums, and what they rest on.
pub(super) struct Live {
    sums: Sums,
    samples: u64,
    complete: u64,
    interval: u64,
    taken: SystemTime,
    active: &'static Active,
}

/// Reads the live heap.
pub(super) fn take() -> Result<Live, Error> {
    let active =
        activation::active().map_err(|reason| Error::Unsupported(format!("no heap profile: {reason}")))?;
    focus::learn();
    let dump = dump::parse(&dump_text()?)
        .map_err(|error| Error::Unsupported(format!("jemalloc's heap dump is not understood: {error}")))?;
    Ok(Live::new(&dump, active))
}

/// Whether the heap is sampled, and how or why not.
pub(crate) fn status() -> (bool, String) {
    match activation::active() {
        Ok(active) => match &active.own_unwinder_refused {
            None => {
                let focus = focus::focus().map(|(label, value)| format!(", of {label} {value:?} alone"));
                (true, format!("jemalloc with {}{}", active.unwinder, focus.unwrap_or_default()))
            }
            Some(reason) => (true, format!("jemalloc with {}, without labels: {reason}", active.unwinder)),
        },
        Err(reason) => (false, reason),
    }
}

/// Has jemalloc write its dump to memory: no disk is touched, and nothing is left behind whatever fails.
fn dump_text() -> Result<String, Error> {
    let mut file =
        memory_file().map_err(|error| Error::Io("no memory file for the heap dump".into(), error))?;
    let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
    // SAFETY: the manual gives `const char *`, a path, which outlives the call.
    let dump = || unsafe { jemalloc::write(c"prof.dump", path.as_ptr()) };
    let (dumped, beyond_limit) = file_size::guarded(dump);
    if beyond_limit {
        let why = "the process may not write files as large as the heap dump; allow more by RLIMIT_FSIZE";
        return Err(Error::Refused(format!("no heap profile: {why}")));
    }
    dumped.map_err(|error| Error::Unsupported(format!("jemalloc could not dump its samples: {error}")))?;
    let mut text = Vec::new();
    // jemalloc opened the file by its path and left our own position at the start.
    file.read_to_end(&mut text).map_err(|error| Error::Io("the heap dump can't be read".into(), error))?;
    // The mapped files at its end may have any name.
    Ok(String::from_utf8_lossy(&text).into_owned())
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

impl Live {
    fn new(dump: &Dump, active: &'static Active) -> Self {
        let mut live = Self {
            sums: HashMap::new(),
            samples: 0,
            complete: 0,
            interval: dump.interval,
            taken: SystemTime::now(),
            active,
        };
        for stack in &dump.stacks {
            let (frames, context) = pseudo_frame::split(&stack.addresses);
            let [objects, bytes] = dump::unbias(stack, dump.interval);
            let sum = live.sums.entry((frames.into(), context.context)).or_default();
            sum[0] += objects;
            sum[1] += bytes;
            live.samples += stack.objects;
            live.complete += if context.complete { stack.objects } else { 0 };
        }
        live
    }

    /// All of it.
    pub(super) fn profile(self, lines: bool) -> Profile {
        let stats = self.stats(super::switch::since(self.active.since));
        finish(Kind::Heap, self.sums, None, stats, lines)
    }

    /// What it is more than at an earlier moment.
    pub(super) fn growth_since(mut self, before: Live, started: SystemTime, lines: bool) -> Profile {
        for (key, values) in before.sums {
            let sum = self.sums.entry(key).or_default();
            sum[0] -= values[0];
            sum[1] -= values[1];
        }
        self.sums.retain(|_, values| *values != [0, 0]);
        let stats = self.stats(started);
        finish(Kind::HeapGrowth, self.sums, None, stats, lines)
    }

    pub(super) fn into_sums(self) -> Sums {
        self.sums
    }

    /// The samples it rests on, and bytes by stage and label set.
    pub(super) fn by_context(self) -> (u64, HashMap<(u32, u32), i64>) {
        let mut bytes = HashMap::new();
        for ((_, context), values) in self.sums {
            *bytes.entry(context).or_default() += values[1];
        }
        (self.samples, bytes)
    }

    fn stats(&self, started: SystemTime) -> ProfileStats {
        ProfileStats {
            rung: format!("jemalloc with {}", self.active.unwinder),
            rung_limits: String::new(),
            rungs_refused: self.active.own_unwinder_refused.iter().cloned().collect(),
            samples: self.samples,
            complete_stacks: self.complete,
            thinned: 0,
            dropped: Vec::new(),
            cpu_time: Default::default(),
            started,
            duration: self.taken.duration_since(started).unwrap_or_default(),
            period: self.interval as i64,
        }
    }
}

/// A profile of sums, and of what is held beside them.
pub(super) fn finish(
    kind: Kind,
    sums: Sums,
    held: Option<Sums>,
    stats: ProfileStats,
    lines: bool,
) -> Profile {
    let raw = |sums: Sums| -> Vec<Raw> {
        let raw = |((stack, context), values)| Raw { stack, context: Context::of(context), values };
        sums.into_iter().map(raw).collect()
    };
    let mut profile = Profile::with_held(kind, raw(sums), held.map(raw), stats, lines);
    allocator_frames::trim(&mut profile);
    profile
}
