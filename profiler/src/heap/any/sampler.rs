//! The allocator that a program declares.

/// An allocator around another that tells [`heap`](fn@crate::heap), [`allocs`](crate::allocs) and
/// [`heap_metrics`](crate::heap_metrics) of what is allocated, and gives each stage, statement and tenant its allocated bytes.
/// The system's allocator, mimalloc or any other: for programs that do without the jemalloc of the feature `heap`. Declare it
/// as the global one, in `main.rs`:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: stagelight_profiler::Sampler<std::alloc::System> =
///     stagelight_profiler::Sampler::new(std::alloc::System);
/// # fn main() {}
/// ```
///
/// Allocations are sampled from before `main` on, one in 512 KiB on average; [`sample_heap`](crate::sample_heap) switches that.
/// Another rate does not make it forget what it has sampled: each sample weighs by the rate that it was taken at. A thread hears
/// of a switch within its next 64 KiB.
///
/// # Cost
/// Some nanoseconds a pair of allocation and release, sampled or not. A sample takes its stack, which is a microsecond or several,
/// and up to 4 KiB of memory more while it lives: it is aligned to a page, but for those of 64 KiB and more. At a rate of 512 KiB
/// that is below 1 % of the heap, at 16 KiB a quarter. What the sampler itself keeps has a cap of 7.4 MiB, of which the pages
/// that are touched exist: about 114,000 live samples (55 GiB at 512 KiB) and 262,144 frames in different places of stacks.
/// [`ProfileStats::dropped`](crate::ProfileStats::dropped) says what found no room: `table_full` for samples, `stack_cap` for stacks
/// that lost their innermost frames.
///
/// # Your responsibility
/// There is one of these in a process, the global allocator. What another one around an allocator that takes its own memory from the
/// first gives back may be taken for the first one's sample.
///
/// # What it is not
/// Bytes are those that were asked for, without what the allocator rounds them up to. What C code allocates by itself is not
/// seen. Needs Linux, and x86_64 for stacks; elsewhere than on Linux it passes all calls on, and no more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampler<A> {
    pub(super) inner: A,
    /// The power of two of the average bytes between samples, from the start on.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code))]
    pub(super) lg_sample: Option<u32>,
}

impl<A> Sampler<A> {
    /// Around `inner`, sampling one in 512 KiB.
    #[must_use]
    pub const fn new(inner: A) -> Self {
        Self::with_rate(inner, Some(19))
    }

    /// Around `inner`, sampling one in 2^`lg_sample` bytes, a figure from 10 to 30, or nothing before
    /// [`sample_heap`](crate::sample_heap) switches it on. Allocated bytes by stage and label are counted in any case.
    ///
    /// # Panics
    /// If the figure is another one: at compile time, where the allocator is declared.
    #[must_use]
    pub const fn with_rate(inner: A, lg_sample: Option<u32>) -> Self {
        if let Some(lg_sample) = lg_sample {
            assert!(10 <= lg_sample && lg_sample <= 30, "lg_sample goes from 10 to 30");
        }
        Self { inner, lg_sample }
    }
}
