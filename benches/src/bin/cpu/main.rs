//! The CPU profiler against its bars, each measured.
//!
//! `cargo run --release -p stagelight-benches --bin cpu` prints a table for people. With `-- --check` it prints a line a bar,
//! `name value limit ok|miss`, and exits with 1 if any bar is missed. `-- weights labels` runs these parts alone.
//!
//! What could disturb what comes after it, or hang as a peer may, runs in a process of its own: this program with
//! `--child`.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    eprintln!("cpu: CPU profiles need Linux on x86_64");
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod parts;

// As in a program that takes heap profiles too.
stagelight_profiler::heap_profiler!(lg_sample = 30);

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    parts::main()
}
