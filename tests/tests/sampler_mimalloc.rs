//! Sampling on mimalloc.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use mimalloc::MiMalloc;
use stagelight_profiler::Sampler;

#[global_allocator]
static ALLOCATOR: Sampler<MiMalloc> = Sampler::with_rate(MiMalloc, Some(15));

const NAME: &str = "Sampler over mimalloc::MiMalloc with framehop";

mod sampler;
