//! The heap profiler, allocated bytes and the locks against their bars, each measured.
//!
//! `cargo run --release -p stagelight-benches --bin heap` prints a table for people. With `-- --check` it prints a line a bar,
//! `name value limit ok|miss`, and exits with 1 if any bar is missed. `-- pairs dump` runs these parts alone.
//!
//! jemalloc is configured as its process starts, so what needs that to be another way runs in a process of its own: this program
//! with `--child`.

mod parts;

stagelight_profiler::heap_profiler!(lg_sample = 19);

fn main() -> std::process::ExitCode {
    parts::main()
}
