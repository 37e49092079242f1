//! Heap profiles: who holds the live memory, by stack and by label, and who allocates, from jemalloc's own sampling or, on
//! other allocators, from that of a wrapper.

use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::profile::Profile;

mod allocations;
#[cfg(target_os = "linux")]
mod allocator_frames;
mod any;
mod by_label;
#[cfg(target_os = "linux")]
mod estimate;
#[cfg(target_os = "linux")]
mod focus;
#[cfg(all(target_os = "linux", feature = "heap"))]
pub mod jemalloc;
#[cfg(target_os = "linux")]
mod live;
#[cfg(not(target_os = "linux"))]
#[path = "unsupported.rs"]
mod live;
mod pseudo_frame;
#[cfg(target_os = "linux")]
mod stack;
#[cfg(target_os = "linux")]
mod switch;
#[cfg(not(target_os = "linux"))]
#[path = "no_switch.rs"]
mod switch;
#[cfg(target_os = "linux")]
mod tally;
#[cfg(target_os = "linux")]
mod tier;
#[cfg(target_os = "linux")]
mod told;
#[cfg(target_os = "linux")]
mod window;
#[cfg(not(target_os = "linux"))]
#[path = "unsupported_window.rs"]
mod window;

pub use allocations::{AllocsBuilder, AllocsSession, allocs};
pub use any::Sampler;
pub(crate) use by_label::by_label;
pub use by_label::heap_metrics;
#[cfg(target_os = "linux")]
pub use focus::focus_heap;
#[cfg(any(feature = "control", not(target_os = "linux")))]
pub(crate) use live::status;
#[cfg(not(target_os = "linux"))]
pub use switch::focus_heap;
pub use switch::sample_heap;

/// Makes jemalloc the process's allocator, for C code too, and has it sample allocations from the start: one in
/// 512 KiB on average. Write it once, in `main.rs`:
///
/// ```
/// stagelight_profiler::heap_profiler!();
/// # fn main() {}
/// ```
///
/// `heap_profiler!(lg_sample = 17)` samples one in 2^17 bytes; a figure from 10 to 30. At 19, sampling costs a
/// database some percent of what it spends on allocation; at 17, four times that.
///
/// # Options of jemalloc's own
/// They go into the macro, where they are checked as the program is compiled:
///
/// ```
/// stagelight_profiler::heap_profiler!(
///     lg_sample = 19,
///     options = "background_thread:true,dirty_decay_ms:5000",
/// );
/// # fn main() {}
/// ```
///
/// Those that profiles rest on are set by the macro and refused here, as are options that jemalloc
/// 5.3 does not have:
///
/// ```compile_fail
/// stagelight_profiler::heap_profiler!(options = "prof:false");
/// # fn main() {}
/// ```
///
/// The macro defines the symbols `malloc_conf` and `_rjem_malloc_conf`. A program that defines one
/// itself does not link ("symbol `malloc_conf` is already defined", or "multiple definition"): give
/// the macro what stands there, and remove the definition. Whoever runs the program can add options
/// by the environment's `MALLOC_CONF`, which comes after the macro's.
///
/// # Static programs
/// In a program without shared libraries (`-C target-feature=+crt-static`, and musl's targets)
/// jemalloc serves Rust's allocations alone, and C code keeps the C library's allocator: that
/// allocates before jemalloc can start there. The profile's rung says so.
///
/// This also gives each stage its allocated bytes. Elsewhere than on Linux it declares nothing.
#[cfg(feature = "heap")]
#[macro_export]
macro_rules! heap_profiler {
    () => {
        $crate::heap_profiler!(lg_sample = 19);
    };
    (lg_sample = $lg_sample:literal $(, options = $options:literal)? $(,)?) => {
        $crate::heap_profiler!(@around $crate::__private::Jemalloc, $lg_sample $(, $options)?);
    };
    (options = $options:literal $(,)?) => {
        $crate::heap_profiler!(lg_sample = 19, options = $options);
    };
    (options = $options:literal, lg_sample = $lg_sample:literal $(,)?) => {
        $crate::heap_profiler!(lg_sample = $lg_sample, options = $options);
    };
    // With a unit struct that passes on to jemalloc in jemalloc's place: for the soak, no part of the public interface.
    (@around $allocator:path, $lg_sample:literal $(, $options:literal)?) => {
        #[cfg(target_os = "linux")]
        const _: () = {
            use $crate::__private::{Conf, start};

            const _: () = assert!(10 <= $lg_sample && $lg_sample <= 30, "lg_sample goes from 10 to 30");
            $(const _: () = if let Some(fault) = $crate::__private::fault($options) {
                panic!("{}", fault.words())
            };)?

            #[global_allocator]
            static ALLOCATOR: $allocator = $allocator;

            // Active only once our unwinder is in place, which `start` sees to. Large sizes in classes, as jemalloc has
            // always had them: without, 5.3.1 unbiases a sample by its class and counts it by its pages, up to 9 % off.
            const CONF: Conf = Conf::new(concat!(
                "prof:true,prof_active:false,disable_large_size_classes:false,lg_prof_sample:",
                $lg_sample,
                $(",", $options,)?
                "\0"
            ));

            // jemalloc goes by either name, according to how it was built.
            // SAFETY: no one else defines these symbols but jemalloc, weakly, for just this use.
            #[unsafe(export_name = "malloc_conf")]
            pub static MALLOC_CONF: Conf = CONF;
            // SAFETY: as above.
            #[unsafe(export_name = "_rjem_malloc_conf")]
            pub static PREFIXED_MALLOC_CONF: Conf = CONF;

            // Before `main`, so that all that the program allocates from there on is sampled. It takes well below a
            // millisecond.
            #[used]
            // SAFETY: functions of this type are what the section holds.
            #[unsafe(link_section = ".init_array")]
            static START: extern "C" fn() = start;
        };
    };
}

/// Time that taking the stacks of sampled allocations took so far.
pub(crate) fn sampling_time() -> Duration {
    #[cfg(target_os = "linux")]
    let spent_ns = stack::SPENT_NS.load(std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(target_os = "linux"))]
    let spent_ns = 0;
    Duration::from_nanos(spent_ns)
}

/// Bytes that sampling uses at present, and that a window does, without what it gathered.
pub(crate) fn bytes() -> usize {
    #[cfg(target_os = "linux")]
    return window::bytes() + any::activation::bytes();
    #[cfg(not(target_os = "linux"))]
    0
}

/// A heap profile of the whole process: bytes and objects that are allocated and not yet freed, by the stack and the
/// query that allocated them. Needs [`heap_profiler!`](crate::heap_profiler) or a [`Sampler`].
///
/// ```no_run
/// let profile = stagelight_profiler::heap().run()?;
/// profile.by_label("tenant").write_flamegraph(std::fs::File::create("heap.svg")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Taking one costs some 50 ms for each 10,000 different stacks, as pprof with names, and 10 MB meanwhile; allocation in other threads goes on.
pub fn heap() -> HeapBuilder {
    HeapBuilder { duration: None, lines: false }
}

/// What a heap profile shall be like.
#[derive(Clone, Debug)]
#[must_use = "call `run` or `start`"]
pub struct HeapBuilder {
    duration: Option<Duration>,
    lines: bool,
}

impl HeapBuilder {
    /// Shows what the live heap grows by within this time instead of all of it.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// Reads the debug information too, where there is any: files, lines, and functions that were inlined as frames of
    /// their own. Names alone, the default, take half the time.
    pub fn lines(mut self) -> Self {
        self.lines = true;
        self
    }

    /// Gives the live heap as it is now, or, with a duration, its growth within that time, blocking the calling
    /// thread meanwhile.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the allocator does not sample, with the reason; [`Error::Invalid`] if the duration
    /// is out of the range of a CPU profile's; [`Error::Io`] or [`Error::Refused`] if there is no descriptor for the dump, or its
    /// size is more than the process may write.
    pub fn run(self) -> Result<Profile, Error> {
        let Some(duration) = self.duration else { return Ok(live::take()?.profile(self.lines)) };
        crate::cpu::check_duration("the growth of the heap", duration)?;
        let session = self.start()?;
        std::thread::sleep(duration);
        session.stop()
    }

    /// Notes the live heap, to show its growth when the session is stopped.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the allocator does not sample.
    pub fn start(self) -> Result<HeapSession, Error> {
        Ok(HeapSession { before: live::take()?, started: SystemTime::now(), lines: self.lines })
    }
}

/// The live heap at one moment, to compare a later one with.
#[must_use = "call `stop`"]
pub struct HeapSession {
    before: live::Live,
    started: SystemTime,
    lines: bool,
}

impl std::fmt::Debug for HeapSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeapSession").field("started", &self.started).finish_non_exhaustive()
    }
}

impl HeapSession {
    /// Gives what the live heap grew by since the start. What shrank counts below zero.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the allocator no longer samples.
    pub fn stop(self) -> Result<Profile, Error> {
        Ok(live::take()?.growth_since(self.before, self.started, self.lines))
    }
}
