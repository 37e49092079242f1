//! The neutral form of every kind of sample: (stack, labels) → values with units. The profilers
//! produce it, the renderers read it, and neither knows the other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::symbolize::{self, Frame, Mapping, Symbolized, Symbols};
use crate::unwind::{NOT_UNWOUND, TOO_DEEP};

mod context;
mod cut;
mod cuts;
mod diff;
mod merge;
mod own;
mod raw;
mod remarks;
mod stage_functions;

pub use context::LABELS;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) use context::PATH;
pub(crate) use context::{Context, Labels, State, WITHIN, resolve};
pub(crate) use cut::NONE;
pub(crate) use cuts::Cuts;
pub use diff::Diff;
pub(crate) use raw::{Raw, RawProfile};
pub(crate) use remarks::waits_that_go_on;

use context::Resolver;
use stage_functions::StageFunctions;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cpu,
    CpuChange,
    OffCpu,
    OffCpuChange,
    Wall,
    WallChange,
    Block,
    BlockChange,
    Mutex,
    MutexChange,
    Heap,
    HeapGrowth,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nobody samples the heap"))]
    Allocations,
    AllocationsChange,
}

/// What a value counts and in which unit, as pprof writes it.
pub(crate) type ValueType = (&'static str, &'static str);

impl Kind {
    /// The values of a sample; the second is the one that reports show.
    pub(crate) fn values(self) -> [ValueType; 2] {
        match self {
            Kind::Cpu | Kind::CpuChange => [("samples", "count"), ("cpu", "nanoseconds")],
            Kind::OffCpu | Kind::OffCpuChange => [("switches", "count"), ("offcpu", "nanoseconds")],
            Kind::Wall | Kind::WallChange => [("samples", "count"), ("wall", "nanoseconds")],
            Kind::Block | Kind::BlockChange | Kind::Mutex | Kind::MutexChange => {
                [("contentions", "count"), ("delay", "nanoseconds")]
            }
            Kind::Heap | Kind::HeapGrowth => [("inuse_objects", "count"), ("inuse_space", "bytes")],
            Kind::Allocations | Kind::AllocationsChange => {
                [("alloc_objects", "count"), ("alloc_space", "bytes")]
            }
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::Cpu => "CPU time",
            Kind::CpuChange => "Change of CPU time",
            Kind::OffCpu => "Time off the CPU",
            Kind::OffCpuChange => "Change of time off the CPU",
            Kind::Wall => "Wall-clock time of all threads",
            Kind::WallChange => "Change of wall-clock time of all threads",
            Kind::Block => "Time spent waiting for locks",
            Kind::BlockChange => "Change of time spent waiting for locks",
            Kind::Mutex => "Time that locks made others wait",
            Kind::MutexChange => "Change of time that locks made others wait",
            Kind::Heap => "Live heap",
            Kind::HeapGrowth => "Growth of the live heap",
            Kind::Allocations => "Allocated memory, freed or not",
            Kind::AllocationsChange => "Change of allocated memory, freed or not",
        }
    }
}

/// How a profile came about and what it rests on: all of it, whatever was cut from it afterwards.
#[derive(Clone, Debug)]
pub struct ProfileStats {
    /// What triggered or took the samples: `perf-sigtrap`, `perf-sigtrap-kernel`, `perf-sigtrap-user`, `perf-setsig`, `ctimer` or
    /// `sampler-thread` for CPU; `context-switches` for time off the CPU; `sampler-thread` for the wall clock; `counters` for a
    /// look at the counters; `locks` for those that tell of their waits; `jemalloc` or `Sampler` for
    /// the heap, with what each rests on.
    pub rung: String,
    /// What samples by it are not, in words; empty if there is nothing to say.
    pub rung_limits: String,
    /// Why better ways were not taken, or not wholly.
    pub rungs_refused: Vec<String>,
    /// What else there is to say of how it came about, in sentences: waits that had not ended,
    /// functions of the kernel that were asked for and can't be had, locks that it does not know.
    pub notes: Vec<String>,
    /// For how long the process did not run meanwhile, about: it was stopped by a signal or a
    /// debugger, or frozen. What is shorter than a quarter of a second is not noticed. Waits are
    /// longer by it.
    pub stopped: Duration,
    /// Samples that the profile rests on.
    pub samples: u64,
    /// Those whose stack reaches the thread's start.
    pub complete_stacks: u64,
    /// Context switches, or waits for locks, that were seen and not sampled: others like them were, and weigh for them too.
    /// Short waits, and those beyond what is sampled in a second; 0 but in profiles of waits.
    pub thinned: u64,
    /// What is missing, by cause: samples that were taken and not kept (`ring_full`), stacks of samples that count by
    /// their labels alone (`stack_cap`; of a live heap by a
    /// [`Sampler`](crate::Sampler), by their outer frames), live samples that found no room since the process started (`table_full`),
    /// samples without their thread and trace (`context_cap`), threads that could not be
    /// sampled (`threads_missed`), threads that blocked the rung's signal at the end (`signal_blocked`), waits that
    /// are not known because their thread had just started, or waited as the profile did, and count as switches of no length
    /// (`first_waits`), waits for locks that were not recorded because others were (`busy`, or `nested` on the same thread), threads whose samples
    /// have no functions of the kernel because there was no room for them (`kernel_frames_missed`), and samples without them for
    /// the same reason (`kernel_frames_lost`).
    pub dropped: Vec<(&'static str, u64)>,
    /// CPU time that the process used meanwhile, by its own clock. That of Stagelight's own threads
    /// is in it.
    pub cpu_time: Duration,
    /// Time of Stagelight's own threads, which the profile leaves out.
    pub own_threads: Duration,
    /// Samples of these threads.
    pub(crate) own_samples: u64,
    /// Time in Stagelight's functions that record and sample. It counts with the functions of the
    /// program that they served, which stand on the stacks in their place.
    pub own_functions: Duration,
    /// When it started.
    pub started: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// What one sample stands for on average: nanoseconds, or bytes allocated; of an off-CPU profile the wait from which
    /// on every one is sampled.
    pub period: i64,
}

/// A finished, symbolized profile.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) kind: Kind,
    pub(crate) locations: Vec<Location>,
    pub(crate) samples: Vec<Sample>,
    /// Beside what was allocated, objects and bytes that live at the end, whenever they were allocated.
    pub(crate) held: Option<Vec<Sample>>,
    pub(crate) stats: ProfileStats,
    /// The labels that root the stacks, outermost first.
    pub(crate) roots: Vec<String>,
    /// Labels and values that its samples were chosen by.
    pub(crate) filters: Vec<(String, String)>,
    pub(crate) stage_functions: StageFunctions,
    /// What makes its labels say less than they seem to, in sentences.
    pub(crate) warnings: Vec<String>,
    /// Which names and lines could not be had, and why, in sentences.
    pub(crate) unnamed: Vec<String>,
}

/// A place in the code, or a label that stands at the root of stacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    /// 0 for a label.
    pub(crate) address: u64,
    /// The object that the address lies in, if any.
    pub(crate) mapping: Option<Arc<Mapping>>,
    /// Innermost first: functions that were inlined, then the one that they were inlined into. At least one, which is made
    /// of the address if no name is known.
    pub(crate) frames: Vec<Frame>,
    /// Whether a name is known.
    pub(crate) named: bool,
}

/// The "address" of time in the kernel where samples may not fall into it. No address is like it.
pub(crate) const KERNEL_NOT_PERMITTED: u64 = u64::MAX;

/// The "address" of time in the kernel, within the system call that the next frame made.
pub(crate) const KERNEL: u64 = u64::MAX - 1;

/// The "address" of time that the kernel took without being called, by page faults and interrupts.
pub(crate) const KERNEL_UNCALLED: u64 = u64::MAX - 5;

/// The "address" on top of what a thread waits in as the profile ends.
pub(crate) const STILL_WAITING: u64 = u64::MAX - 6;

/// The "address" of allocations that a focus leaves out.
pub(crate) const NOT_IN_FOCUS: u64 = u64::MAX - 2;

impl Location {
    fn new(address: u64, Symbols { mapping, mut frames }: Symbols) -> Self {
        match address {
            KERNEL_NOT_PERMITTED => frames = vec![Frame::named("[kernel, not permitted]")],
            TOO_DEEP => frames = vec![Frame::named("[cut, too deep]")],
            NOT_UNWOUND => frames = vec![Frame::named("[cut, not unwound]")],
            NOT_IN_FOCUS => frames = vec![Frame::named("[not in focus]")],
            KERNEL => frames = vec![Frame::named("[kernel]")],
            STILL_WAITING => frames = vec![Frame::named("[still waiting]")],
            KERNEL_UNCALLED => frames = vec![Frame::named("[kernel, fault or interrupt]")],
            _ => {}
        }
        let named = !frames.is_empty();
        if !named {
            // The same in each run, as the address itself is not.
            let in_file = mapping.as_ref().map(|mapping| {
                let file = mapping.path.rsplit('/').next().unwrap_or_default();
                format!("{file}+{:#x}", address.wrapping_sub(mapping.bias))
            });
            frames.push(Frame::named(in_file.unwrap_or_else(|| format!("{address:#x}"))));
        }
        // Where the kernel lies is not for all who may see the profile, and who knows the function need not know it.
        let address = match &mapping {
            Some(mapping) if named && mapping.is_kernel() => mapping.range.start,
            _ => address,
        };
        Self { address, mapping, frames, named }
    }

    /// Whether it stands for a label's value.
    pub(crate) fn is_label(&self) -> bool {
        self.address == 0
    }

    /// What stands for a label's value.
    fn label(name: &str) -> Self {
        Self { address: 0, mapping: None, frames: vec![Frame::named(name)], named: true }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Indices of locations, innermost first.
    pub(crate) stack: Vec<u32>,
    pub(crate) labels: Labels,
    pub(crate) values: [i64; 2],
}

impl Profile {
    /// Symbolizes what a profiler took, with `lines` by its debug information too. Slow: reads the program's symbols.
    pub(crate) fn new(kind: Kind, raw: Vec<Raw>, stats: ProfileStats, lines: bool) -> Self {
        Self::with_held(kind, raw, None, stats, lines)
    }

    /// The same, with what is held beside it.
    pub(crate) fn with_held(
        kind: Kind,
        mut raw: Vec<Raw>,
        held: Option<Vec<Raw>>,
        mut stats: ProfileStats,
        lines: bool,
    ) -> Self {
        own::leave_out_threads(&mut raw, &mut stats);
        let all = || raw.iter().chain(held.iter().flatten());
        let sampled: HashSet<u64> = all().flat_map(|raw| raw.stack.iter().copied()).collect();
        let stages = stage_functions::entered(all());
        // Named together, since that reads the program's symbols.
        let mut addresses: Vec<u64> = stages.iter().map(|(code, _)| *code).collect();
        addresses.extend(&sampled);
        addresses.sort_unstable();
        addresses.dedup();
        let Symbolized { symbols, notes: unnamed } = symbolize::symbolize(&addresses, lines);
        let mut index: HashMap<u64, u32> = HashMap::new();
        let (mut locations, mut stage_functions) = (Vec::new(), StageFunctions::default());
        for (address, symbols) in addresses.into_iter().zip(symbols) {
            for (_, stage) in stages.iter().filter(|(code, _)| *code == address) {
                stage_functions.add(stage, &symbols);
            }
            if sampled.contains(&address) {
                index.insert(address, locations.len() as u32);
                locations.push(Location::new(address, symbols));
            }
        }
        let mut labels = Resolver::default();
        let mut sample = |Raw { stack, context, values }| Sample {
            stack: stack.iter().map(|address| index[address]).collect(),
            labels: labels.resolve(context),
            values,
        };
        let samples = raw.into_iter().map(&mut sample).collect();
        let held = held.map(|held| held.into_iter().map(sample).collect());
        let (roots, filters) = Default::default();
        let warnings = stagelight::label_fallbacks().iter().map(ToString::to_string).collect();
        let mut profile = Self {
            kind,
            locations,
            samples,
            held,
            stats,
            roots,
            filters,
            stage_functions,
            warnings,
            unnamed,
        };
        own::leave_out_functions(&mut profile);
        profile
    }

    /// The samples of what it measures, and those of what is held beside it.
    pub(crate) fn all_samples(&mut self) -> impl Iterator<Item = &mut Sample> {
        self.samples.iter_mut().chain(self.held.iter_mut().flatten())
    }

    /// The frames of a sample's stack, innermost first.
    pub(crate) fn frames<'a>(&'a self, sample: &'a Sample) -> impl DoubleEndedIterator<Item = &'a Frame> {
        sample.stack.iter().flat_map(|&location| &self.locations[location as usize].frames)
    }

    /// How it came about and what it rests on.
    #[must_use]
    pub fn stats(&self) -> &ProfileStats {
        &self.stats
    }

    /// Whether it has no samples, or none that a filter chose.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The sum over all samples: nanoseconds of what the profile measures, or bytes. An estimate without bias; of `n` samples
    /// its relative standard error is about 1/√n.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.samples.iter().map(|sample| sample.values[1]).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A profile of three samples made by hand, for the renderers' tests. `step` was inlined into `run`, and one function
    /// has no name.
    pub(crate) fn sample_profile() -> Profile {
        let frame =
            |function: &str, file: &str, line| Frame { file: file.into(), line, ..Frame::named(function) };
        let mapping = |start, name: &str, build_id: &str| {
            Arc::new(Mapping {
                range: start..start + 0x9000,
                file_offset: 0x1000,
                bias: start - 0x1000,
                path: format!("/usr/bin/{name}"),
                build_id: build_id.into(),
            })
        };
        let program = mapping(0x1000, "orders", "0123abcd");
        let library = mapping(0x20_0000, "libodd.so", "");
        let location = |address, mapping: &Arc<Mapping>, frames| {
            Location::new(address, Symbols { mapping: Some(Arc::clone(mapping)), frames })
        };
        let inlined = vec![frame("orders::step::<T>", "b.rs", 2), frame("orders::run", "b.rs", 9)];
        let locations = vec![
            location(0x1010, &program, vec![frame("sqlite3VdbeExec", "sqlite3.c", 7)]),
            location(0x2020, &program, inlined),
            location(0x3030, &program, vec![frame("main", "", 0)]),
            location(0x20_0444, &library, Vec::new()),
        ];
        let labels = |tenant: &str| -> Labels {
            let values = ["step", "engine", "select \"a\";\nb", tenant, "", "", "execute > step", "worker"];
            let mut labels: [String; LABELS.len()] = Default::default();
            labels.iter_mut().zip(values).for_each(|(label, value)| *label = value.to_owned());
            Arc::new(labels)
        };
        let samples = vec![
            Sample { stack: vec![0, 1, 2], labels: labels("acme"), values: [3, 3_000_000] },
            Sample { stack: vec![1, 2], labels: labels("acme"), values: [1, 1_000_000] },
            Sample { stack: vec![3, 0, 1, 2], labels: labels(""), values: [2, 2_000_000] },
        ];
        let stats = ProfileStats {
            rung: "ctimer".into(),
            rung_limits: "on the kernel's ticks".into(),
            rungs_refused: vec!["perf-sigtrap: not permitted".into()],
            notes: vec!["2 threads waited throughout".into()],
            stopped: Duration::ZERO,
            samples: 6,
            complete_stacks: 6,
            thinned: 0,
            dropped: vec![("ring_full", 1), ("stack_cap", 0)],
            cpu_time: Duration::from_millis(6),
            own_threads: Duration::from_millis(1),
            own_samples: 1,
            own_functions: Duration::from_micros(20),
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            duration: Duration::from_secs(1),
            period: 1_000_000,
        };
        let (roots, filters, stage_functions, unnamed) = Default::default();
        let warnings = vec!["3 of 4 queries count as user `other`".to_owned()];
        let (kind, held) = (Kind::Cpu, None);
        Profile { kind, locations, samples, held, stats, roots, filters, stage_functions, warnings, unnamed }
    }

    #[test]
    fn functions_of_the_kernel_have_names_or_addresses() {
        let mapping = Arc::new(Mapping {
            range: 0xffff_8000_0000_0000..0xffff_ffff_ff00_0000,
            file_offset: 0,
            bias: 0,
            path: crate::symbolize::KERNEL_PATH.into(),
            build_id: String::new(),
        });
        let location = |frames| {
            let symbols = Symbols { mapping: Some(Arc::clone(&mapping)), frames };
            Location::new(0xffff_ffff_8123_4567, symbols)
        };
        let named = location(vec![Frame::named("vfs_read")]);
        assert_eq!((named.address, named.frames), (mapping.range.start, vec![Frame::named("vfs_read")]));
        let hidden = location(Vec::new());
        assert_eq!(hidden.address, 0xffff_ffff_8123_4567);
        assert_eq!(hidden.frames, [Frame::named("[kernel.kallsyms]+0xffffffff81234567")]);
    }

    /// The same, taken again for two seconds: `acme` burns more and in another function, all others nothing.
    pub(crate) fn changed_profile() -> Profile {
        let mut profile = sample_profile();
        let symbols = Symbols { mapping: None, frames: vec![Frame::named("malloc")] };
        profile.locations.insert(0, Location::new(0x4040, symbols));
        let labels = Arc::clone(&profile.samples[0].labels);
        let sample = |stack: &[u32], count| Sample {
            stack: stack.into(),
            labels: Arc::clone(&labels),
            values: [count, count * 1_000_000],
        };
        profile.samples = vec![sample(&[1, 2, 3], 1), sample(&[2, 3], 3), sample(&[0, 2, 3], 4)];
        profile.stats.samples = 8;
        profile.stats.duration = Duration::from_secs(2);
        profile
    }
}
