//! Programs without shared libraries: they start, record and have their profiles.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::process::Command;

use stagelight_tests::fixture::Fixture;
use stagelight_tests::{skip, succeed};

/// Builds the fixture for a target, statically, and runs it. What it tells must be right.
fn check(target: &str, flags: &str) {
    let fixture = Fixture::new("static");
    let mut build = fixture.cargo("build");
    succeed(build.args(["--target", target]).env("RUSTFLAGS", flags));
    let output = succeed(&mut Command::new(fixture.target().join(target).join("debug/static")));
    let text = String::from_utf8_lossy(&output.stdout);
    eprint!("{target}:\n{text}");
    let line = |what: &str| text.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    let numbers = |line: &str| -> Vec<f64> {
        line.split([' ', ',', '(', ')']).filter_map(|word| word.parse().ok()).collect()
    };
    for what in ["cpu: ", "heap: "] {
        let [labelled, all, named, stacks, samples] = numbers(line(what))[..] else { panic!("{text}") };
        assert!(labelled > 0.8 * all && samples > 50.0, "{text}");
        assert!(named > 0.9 * stacks && stacks > 0.0, "{text}");
    }
    assert!(line("heap: ").contains("for Rust alone"), "{text}");
    let [calls, bytes] = numbers(line("stage: "))[..] else { panic!("{text}") };
    assert!(calls == 1.0 && bytes >= 2000.0 * 4096.0, "{text}");
}

/// What a command prints on its standard output, in one line; empty if it can't be run.
fn told(command: &str, args: &[&str]) -> String {
    let output = Command::new(command).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[test]
fn a_static_program_has_cpu_and_heap_profiles_with_labels() {
    if !Path::new(&told("cc", &["-print-file-name=libc.a"])).is_absolute() {
        return skip("static programs", "the C library is not there as libc.a");
    }
    check("x86_64-unknown-linux-gnu", "-C target-feature=+crt-static");
}

#[test]
fn so_has_one_with_musl() {
    let target = "x86_64-unknown-linux-musl";
    if !Path::new(&told("rustc", &["--print", "target-libdir", "--target", target])).is_dir() {
        return skip("programs with musl", &format!("`rustup target add {target}` was not run"));
    }
    if told("musl-gcc", &["-dumpversion"]).is_empty() {
        return skip("programs with musl", "musl-gcc is not installed, which builds jemalloc");
    }
    check(target, "");
}
