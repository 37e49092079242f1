//! Sampling on the system's allocator. Where the feature `heap` is on, jemalloc stands behind that; `.ci/run` has it without, too.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::alloc::System;

use stagelight_profiler::Sampler;

#[global_allocator]
static ALLOCATOR: Sampler<System> = Sampler::with_rate(System, Some(15));

const NAME: &str = "Sampler over std::alloc::System with framehop";

mod sampler;
