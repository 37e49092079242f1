//! What Stagelight as a whole costs the process, estimated from what it counts.

use std::time::Duration;

use stagelight::__private::own_threads_cpu;

use crate::clock;

/// The estimated share of Stagelight in what the process uses.
#[derive(Clone, Copy, Debug)]
pub struct Overhead {
    /// Percent of the process's CPU time since it started that went into recording, CPU and heap
    /// sampling and Stagelight's own threads.
    pub percent: f64,
    /// Bytes of memory in recorded figures, interned labels and sampling buffers.
    pub bytes: usize,
    /// Time spent recording: stage calls times the price of one, measured on this machine.
    pub recording: Duration,
    /// Time spent taking CPU samples.
    pub sampling: Duration,
    /// Time spent taking the stacks of sampled allocations.
    pub heap_sampling: Duration,
    /// CPU time of Stagelight's own threads, by their clocks: of the collector's, with the
    /// observers and exporters that run on it, of those that sample and drain, and of those that
    /// answer the control API, with all that profiles take to be named and written there. What a
    /// thread of yours uses to take a snapshot or to finish a profile is not in it.
    pub threads: Duration,
}

/// What the timer's interrupt and the signal's delivery cost the sampled thread before and after the handler: about
/// 10 µs on a virtual machine, where most of it is the hypervisor's timer, and less on bare metal. The handler
/// can't see it, so the estimate takes the dearer figure.
const INTERRUPT: Duration = Duration::from_micros(10);

/// What Stagelight has cost this process so far.
#[must_use]
pub fn overhead() -> Overhead {
    let recording = stagelight::snapshot().overhead();
    let totals = crate::cpu::totals();
    let samples = totals.kept + totals.ring_full + totals.thinned + totals.late;
    let interrupts = INTERRUPT.saturating_mul(u32::try_from(samples).unwrap_or(u32::MAX));
    let sampling = totals.handler + interrupts;
    let heap_sampling = crate::heap::sampling_time();
    let threads = own_threads_cpu();
    let spent = (recording.recording + sampling + heap_sampling + threads).as_secs_f64();
    Overhead {
        percent: 100.0 * spent / process_cpu_time().as_secs_f64().max(f64::MIN_POSITIVE),
        bytes: recording.bytes + crate::cpu::bytes() + crate::heap::bytes(),
        recording: recording.recording,
        sampling,
        heap_sampling,
        threads,
    }
}

/// CPU time that the process used since it started. The longest of all where the system doesn't say.
pub(crate) fn process_cpu_time() -> Duration {
    clock::process_cpu_ns().map_or(Duration::MAX, Duration::from_nanos)
}
