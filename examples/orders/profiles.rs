//! The profiles that the program takes of itself, and the files that they become.

use stagelight_profiler::{CpuSession, Profile};

use crate::files::Files;

/// What could be taken. A machine may refuse a profile, and the service works on.
pub struct Profiles {
    pub cpu: Option<Profile>,
    pub heap: Option<Profile>,
}

/// Starts a CPU profile of the whole process.
pub fn start_cpu() -> Option<CpuSession> {
    or_say("CPU", stagelight_profiler::cpu().hz(99).start())
}

pub fn stop_cpu(session: Option<CpuSession>) -> Option<Profile> {
    or_say("CPU", session?.stop())
}

/// What is on the heap at this moment, and who put it there.
pub fn take_heap() -> Option<Profile> {
    or_say("heap", stagelight_profiler::heap().run())
}

fn or_say<T>(kind: &str, result: Result<T, stagelight_profiler::Error>) -> Option<T> {
    result.inspect_err(|error| eprintln!("no {kind} profile: {error}")).ok()
}

impl Profiles {
    /// Writes all of them.
    pub fn write(&self, files: &mut Files) {
        if let Some(cpu) = &self.cpu {
            files.write("cpu.svg", |out| cpu.write_flamegraph(out));
            // Tenants at the root, their stages above, the code at the top.
            let by_tenant = cpu.by_label("stage").by_label("tenant");
            files.write("cpu-by-tenant.svg", |out| by_tenant.write_flamegraph(out));
            files.write("cpu.pb.gz", |out| cpu.write_pprof(out));
        }
        if let Some(heap) = &self.heap {
            files.write("heap.svg", |out| heap.write_flamegraph(out));
            files.write("heap.pb.gz", |out| heap.write_pprof(out));
        }
    }
}
