//! CPU, wait and heap profiles of a running database in which every sample knows the stage, statement, tenant and user that it
//! was taken in.
//!
//! Stages and queries are annotated with [`stagelight`](https://docs.rs/stagelight); this crate is what the database's
//! *binary* links beside it.
//!
//! ```no_run
//! // In main.rs: jemalloc as the allocator, sampling from the start.
//! stagelight_profiler::heap_profiler!();
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // curl http://127.0.0.1:6060/debug/pprof/profile?seconds=10 > cpu.pb.gz
//!     let _server = stagelight_profiler::serve("127.0.0.1:6060")?;
//!
//!     // Or from within:
//!     let profile = stagelight_profiler::cpu().hz(99).run()?;
//!     for (tenant, ns) in profile.label_totals("tenant") {
//!         println!("{tenant:20} {} ms", ns / 1_000_000);
//!     }
//!     profile.by_label("tenant").write_flamegraph(std::fs::File::create("cpu.svg")?)?;
//!     Ok(())
//! }
//! ```
//!
//! # CPU
//! [`cpu`] samples all threads by their CPU time. What triggers a sample is a **rung** of a ladder. Each profile tries them
//! from the top and takes the first that works; it says which, what its samples are not, and why those above were refused:
//!
//! | rung | what interrupts | taken where |
//! | --- | --- | --- |
//! | `perf-sigtrap` | a perf event that threads inherit and that signals the thread itself (`SIGTRAP`) | Linux 6.1 and no debugger; where the process may not see the kernel, or [`exec`](#exec) can't be guarded, it is `perf-sigtrap-user`, which interrupts user code alone |
//! | `perf-setsig` | a perf event a thread that sends it `SIGURG`; user code alone | older kernels, and under a debugger |
//! | `ctimer` | a timer on each thread's CPU clock (`SIGURG`), at most at the kernel's tick | containers that forbid `perf_event_open` |
//! | `sampler-thread` | a thread that looks at the others' CPU clocks and sends `SIGURG` | where timers are refused too |
//!
//! Weights come to the threads' CPU time on each. On the perf rungs no waiting call is ended early with `EINTR`. The
//! environment's `STAGELIGHT_CPU_RUNG` forces one, by its name; `auto` is the default.
//!
//! Stacks are walked in the signal handler by the unwind tables that every binary has, so a stock release build gives whole
//! stacks through Rust and C: no frame pointers and no debug information are needed. Names come from the symbol table:
//! don't strip it.
//!
//! Each sample carries [labels](LABELS): its stage and all stages around it (`path`), the query's statement, tenant, user and
//! database, its thread's name, and its query's trace, if that was kept.
//!
//! How much of the time was the kernel's is what the kernel accounts of each thread, so that it
//! agrees with the `utime` and `stime` of `/proc/self/stat`. That time has frames of its own:
//!
//! | frame | time in the kernel |
//! | --- | --- |
//! | `[kernel]` | within a system call, on top of the function that made it |
//! | `[kernel, fault or interrupt]` | that no call asked for: page faults, interrupts |
//! | `[kernel, not permitted]` | of rungs whose samples can't fall into the kernel |
//!
//! The second stands on top of the function that the thread's next sample found, mostly the one that
//! touched the memory; the third stands alone, with that sample's labels. With
//! [`kernel_frames`](CpuBuilder::kernel_frames) the kernel's own functions stand on top of
//! `[kernel]`, those of page faults and interrupts too, where the process may see them; the rung is
//! `perf-sigtrap-kernel` then, whose events threads don't inherit.
//!
//! A stack that does not reach its thread's start ends in a frame that says why: `[cut, too deep]` from 250 frames on, or
//! `[cut, not unwound]` where no table led on.
//!
//! While no profile runs there is no event, no timer and no thread.
//!
//! # The past
//! [`continuous`] samples all the time at 19 Hz and remembers the last minutes: [`past`] gives the profile of what led to
//! this moment, and a [`Trigger`], such as a slow query or a stage whose p99 jumps, has it kept by itself.
//!
//! # Off the CPU, by the wall clock, and counters
//! [`off_cpu`] shows where threads wait and for how long, by the kernel's context-switch events; it interrupts nothing, and
//! needs `CAP_PERFMON` and `CAP_BPF` ([more](#exec)). [`wall`] needs no permission and visits all threads, whether
//! they run or wait, by signals, which end some waits with `EINTR`. [`counters`] tells cycles, instructions, misses, faults and
//! switches by stage and by statement. Of all these and CPU profiles one runs at a time; a [`continuous`] one steps aside for the
//! others.
//!
//! # Locks
//! The locks of [`stagelight::sync`] and [`stagelight::parking_lot`] are drop-ins for `std`'s and `parking_lot`'s that tell who waited
//! for them, how long, and whom for: [`locks`] takes a profile of the waits, with stage, statement and tenant of who held
//! the lock as labels, and one of the holds that made others wait. It goes together with the others.
//!
//! # Heap
//! [`heap_profiler!`] has jemalloc sample, and [`heap`](fn@heap) shows who holds the memory that it sampled;
//! [`allocs`] shows who allocates within a time, whether it is freed or not. [`heap_metrics`] makes
//! metrics of live memory by tenant and the other labels. [`sample_heap`] switches sampling off and on, and sets its rate;
//! [`focus_heap`] has it take the stacks of one tenant, statement or stage alone.
//!
//! The feature `heap`, which is on by default, makes jemalloc the process's allocator, of its C code too, whether it samples or
//! not. A program that wants another turns the feature off (`default-features = false`) and wraps its allocator in a
//! [`Sampler`], which gives all of the above for what Rust code allocates.
//!
//! # Names
//! Names come from the symbol table. Files, lines and inlined functions are there on request
//! ([`CpuBuilder::lines`], [`HeapBuilder::lines`]) if the program has debug information, of which line tables are enough.
//! A stripped program's profile has addresses, mappings and build ids: the program `stagelight symbolize` (package
//! `stagelight-cli`) fills in the rest from the unstripped program, on whatever machine that is.
//!
//! # Cutting and comparing
//! What was taken once can be looked at from many sides: [`Profile::filter`] keeps the samples of one tenant, statement or
//! stage, [`Profile::by_label`] roots stacks in labels, [`Profile::label_totals`] sums up, [`Profile::merge`] adds
//! profiles, and [`Profile::diff`] compares two.
//!
//! # Formats
//! | call | for |
//! | --- | --- |
//! | [`write_pprof`](Profile::write_pprof) | `go tool pprof` and what else reads it |
//! | [`write_flamegraph`](Profile::write_flamegraph), [`write_icicle`](Profile::write_icicle) | a browser |
//! | [`Diff::write_flamegraph`], [`Diff::write_base_flamegraph`] | a browser: what two profiles differ in |
//! | [`write_top`](Profile::write_top), [`write_top_by`](Profile::write_top_by) | a terminal |
//! | [`write_folded`](Profile::write_folded) | scripts |
//! | [`write_speedscope`](Profile::write_speedscope) | <https://www.speedscope.app> |
//! | [`write_firefox`](Profile::write_firefox) | <https://profiler.firefox.com> |
//!
//! # Your responsibilities
//! - The CPU profiler owns `SIGTRAP` and `SIGURG` once it ran, and passes on those that aren't its
//!   own. Don't replace its handlers while a profile runs.
//! - A handler needs 8 KiB of the stack that it interrupts. Threads with less to spare should block both signals.
//! - In a dynamic library, thread-locals may allocate at their first use, which a handler can't bear: link this crate
//!   into the executable.
//!
//! # Plugins
//! A dynamic library that links a copy of `stagelight` of its own records apart from the program:
//! its stages and queries are not in the program's figures, and a sample that falls into it has the
//! stage and labels of the program's code that called it. So have a stage of the program's around
//! the call. `/api/v1/status` names such libraries in its `warnings`.
//!
//! # Exec
//! A process may call `exec` while a profile runs, a continuous one too: what a profile left
//! pending does not kill the program that comes after, and there is nothing to call before.
//! `SIGURG` does nothing by default, and timers and perf events end with `exec`. A sample that falls
//! due within `exec` would leave a `SIGTRAP` behind; the kernel leaves such samples out, which takes
//! Linux 6.11, `CAP_BPF` and `CAP_PERFMON`. Where they are missing, CPU profiles interrupt user code
//! alone, which leaves nothing behind, and off-CPU profiles, kernel frames and the kernel's counters
//! are refused, unless the process has promised that it [never execs](never_execs).
//!
//! What remains: a thread that blocks `SIGTRAP` while it is profiled and calls `exec` with the
//! signal blocked leaves one pending, as POSIX wants it, and the new program dies if it unblocks it
//! without a handler. And a processor's counter (`cycles` and the like) may interrupt in the first
//! instructions of the call, before the kernel knows which it is.
//!
//! # What it is not for
//! It samples its own process only, on Linux and x86_64; elsewhere it compiles, and profiles say why they can't. Where an
//! async task waits no thread does: its time off the CPU is its stage's duration less its polls.

#[cfg(target_os = "linux")]
mod armed;
mod clock;
#[cfg(feature = "control")]
mod control;
#[cfg(all(feature = "control", target_os = "linux"))]
mod copies;
mod cpu;
#[cfg(target_os = "linux")]
mod elf_notes;
mod error;
mod focus;
mod heap;
#[cfg(target_os = "linux")]
mod loaded;
pub mod lock;
mod metrics;
mod overhead;
mod own_threads;
mod profile;
mod render;
#[cfg(target_os = "linux")]
mod ring;
mod running;
mod settings;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sleeping;
mod stopped;
mod symbolize;
mod thread_name;
mod unwind;

#[cfg(feature = "control")]
pub use control::{Address, ControlBuilder, Server, control, serve};
pub use cpu::{
    Continuous, ContinuousBuilder, Counter, CounterEstimate, Counters, CountersBuilder, CountersRow,
    CountersSession, CpuBuilder, CpuSession, Keeper, KeptProfile, OffCpuBuilder, OffCpuSession, Trigger,
    WallBuilder, WallSession, continuous, counters, cpu, kept_profiles, never_execs, off_cpu, past, wall,
};
pub use error::Error;
pub use heap::{
    AllocsBuilder, AllocsSession, HeapBuilder, HeapSession, Sampler, allocs, focus_heap, heap, heap_metrics,
    sample_heap,
};
pub use lock::{LockProfiles, LocksBuilder, LocksSession, locks};
pub use metrics::write_metrics;
pub use overhead::{Overhead, overhead};
pub use profile::{Diff, LABELS, Profile, ProfileStats};
pub use render::TopSort;

/// For what `heap_profiler!` declares. No part of the public interface.
#[cfg(all(feature = "heap", target_os = "linux"))]
#[doc(hidden)]
pub mod __private {
    pub use crate::heap::jemalloc::activation::start;
    pub use crate::heap::jemalloc::control::Conf;
    pub use crate::heap::jemalloc::options::fault;
    pub use tikv_jemallocator::Jemalloc;
}

/// For the program `stagelight`, which reads what this crate writes. No part of the public interface.
#[doc(hidden)]
pub mod __pprof {
    pub use crate::render::pprof::proto;
    pub use crate::symbolize::{Frame, in_file};
    pub use stagelight::export::readable;
}

/// For the benches. No part of the public interface.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[doc(hidden)]
pub mod __bench {
    pub use crate::unwind::timed::walks;
}

/// What only a test of the profiler itself looks at. No part of the public interface.
#[doc(hidden)]
pub mod __testing {
    /// Whether the calling thread is in the CPU sampler's signal handler.
    #[must_use]
    pub fn sampling() -> bool {
        crate::cpu::sampling()
    }

    /// Signals of the CPU sampler since the process started: that arrived, that were kept, that found the ring full,
    /// that came late.
    #[must_use]
    pub fn signals() -> [u64; 4] {
        let totals = crate::cpu::totals();
        [totals.taken, totals.kept, totals.ring_full, totals.late]
    }

    /// Samples that a profile holds, by its own sums, with those that it left out.
    #[must_use]
    pub fn held(profile: &crate::Profile) -> u64 {
        let kept: u64 = profile.samples.iter().map(|sample| sample.values[0] as u64).sum();
        kept + profile.stats.own_samples
    }
}

/// What parses bytes from outside, for the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::control::params;
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    pub use crate::cpu::kernel_records;
    pub use crate::heap::jemalloc::dump;
}
