//! Programs without shared libraries: they start, record and have their profiles.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::process::{Command, Output};

use stagelight_tests::fixture::Fixture;
use stagelight_tests::{skip, succeed};

/// Builds the fixture for a target, statically, and runs it.
fn run(target: &str) -> Output {
    let fixture = Fixture::new("static");
    let mut build = fixture.cargo("build");
    succeed(build.args(["--target", target]).env("RUSTFLAGS", "-C target-feature=+crt-static"));
    succeed(&mut Command::new(fixture.target().join(target).join("debug/static")))
}

#[test]
fn a_static_program_has_cpu_and_heap_profiles_with_labels() {
    let library = Command::new("cc").arg("-print-file-name=libc.a").output().unwrap().stdout;
    if !Path::new(String::from_utf8_lossy(&library).trim()).is_absolute() {
        return skip("static programs", "the C library is not there as libc.a");
    }
    let output = run("x86_64-unknown-linux-gnu");
    let text = String::from_utf8_lossy(&output.stdout);
    eprint!("{text}");
    let line = |what: &str| text.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    let numbers = |line: &str| -> Vec<f64> {
        line.split([' ', ',', '(', ')']).filter_map(|word| word.parse().ok()).collect()
    };
    for what in ["cpu: ", "heap: "] {
        let [labelled, all, named, stacks, samples] = numbers(line(what))[..] else { panic!("{text}") };
        assert!(labelled > 0.8 * all && samples > 50.0, "{text}");
        assert!(named > 0.9 * stacks && stacks > 0.0, "{text}");
    }
    let [calls, bytes] = numbers(line("stage: "))[..] else { panic!("{text}") };
    assert!(calls == 1.0 && bytes >= 2000.0 * 4096.0, "{text}");
}
