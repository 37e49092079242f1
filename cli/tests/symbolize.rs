//! A stripped program's profile, and the names from the program before it was stripped.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::process::{Command, Output};

use stagelight_tests::{burn, child, is_child, skip, succeed, tool};

const FUNCTION: &str = "burn_where_names_are_wanted";

#[inline(never)]
fn burn_where_names_are_wanted(ns: u64) {
    burn(ns);
    // So that it is no tail call.
    std::hint::black_box(ns);
}

trait Burn {
    fn on(&self, ns: u64);
}

struct Wanted<T>(T);

impl Burn for Wanted<Vec<u8>> {
    #[inline(never)]
    fn on(&self, ns: u64) {
        burn_where_names_are_wanted(ns);
        std::hint::black_box(&self.0);
    }
}

const TRAIT_FUNCTION: &str = "<symbolize::Wanted<alloc::vec::Vec<u8>> as symbolize::Burn>::on";

/// What the child does: a profile of itself.
fn take_profile() {
    let session = stagelight_profiler::cpu().hz(999).start().unwrap();
    Wanted(vec![1]).on(300_000_000);
    let profile = session.stop().unwrap();
    let out = std::env::var_os("PROFILE").unwrap();
    profile.write_pprof(std::fs::File::create(out).unwrap()).unwrap();
}

fn symbolize(profile: &Path, binary: &Path, out: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagelight"));
    command.arg("symbolize").arg(profile).arg("--binary").arg(binary).arg("-o").arg(out);
    command.output().unwrap()
}

/// Takes a profile of a stripped copy of this test program, and names it from `names`, made of the program by objcopy.
fn names_come_back(test: &str, names: &[&str]) {
    if is_child() {
        return take_profile();
    }
    let Some(objcopy) = tool(&["objcopy"]) else { return skip("a stripped program", "objcopy is missing") };
    let Some(go) = tool(&["go", "/usr/lib/go-1.19/bin/go"]) else {
        return skip("a stripped program", "go is not installed");
    };
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str| place.path().join(name);
    let own = std::env::current_exe().unwrap();
    let copy = |options: &[&str], name: &str| {
        succeed(Command::new(&objcopy).args(options).arg(&own).arg(file(name)));
    };
    copy(&["--strip-all"], "stripped");
    copy(names, "names");
    let mut stripped = Command::new(file("stripped"));
    stripped.args(child(test).get_args()).env("STAGELIGHT_TEST_CHILD", "1").env("PROFILE", file("in.pb.gz"));
    succeed(&mut stripped);

    let report = |profile: &str, report: &[&str]| {
        let mut pprof = Command::new(&go);
        pprof.args(["tool", "pprof", "-symbolize=none"]).args(report).arg(file(profile));
        pprof.env("PPROF_TMPDIR", place.path());
        String::from_utf8_lossy(&succeed(&mut pprof).stdout).into_owned()
    };
    let before = report("in.pb.gz", &["-top"]);
    assert!(!before.contains(FUNCTION) && before.contains("[stripped]"), "{before}");

    let output = symbolize(&file("in.pb.gz"), &file("names"), &file("out.pb.gz"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("have names now"), "{output:?}");
    let top = report("out.pb.gz", &["-top"]);
    let row = top.lines().find(|line| line.contains(FUNCTION)).unwrap_or_else(|| panic!("{top}"));
    let cum = row.split_whitespace().nth(4).unwrap();
    let share: f64 = cum.trim_end_matches('%').parse().unwrap();
    assert!(share > 90.0, "the function did all the work: {row}");
    assert!(top.contains(TRAIT_FUNCTION), "pprof leaves the name whole: {top}");
    let traces = report("out.pb.gz", &["-traces"]);
    assert!(traces.contains("(inline)"), "{traces}");
    let lines = report("out.pb.gz", &["-top", "-lines"]);
    assert!(lines.contains("tests/symbolize.rs:"), "{lines}");
}

#[test]
fn a_stripped_programs_names_come_from_the_unstripped() {
    names_come_back("a_stripped_programs_names_come_from_the_unstripped", &[]);
}

#[test]
fn a_stripped_programs_names_come_from_its_debug_information() {
    let test = "a_stripped_programs_names_come_from_its_debug_information";
    names_come_back(test, &["--only-keep-debug"]);
}

#[test]
fn another_program_is_refused_by_its_build_id() {
    let test = "another_program_is_refused_by_its_build_id";
    if is_child() {
        return take_profile();
    }
    let place = tempfile::tempdir().unwrap();
    let (profile, out) = (place.path().join("in.pb.gz"), place.path().join("out.pb.gz"));
    succeed(child(test).env("PROFILE", &profile));
    let output = symbolize(&profile, Path::new(env!("CARGO_BIN_EXE_stagelight")), &out);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && !out.exists());
    assert!(text.contains("has the build id") && text.contains("symbolize-"), "{text}");
}

#[test]
fn names_in_a_profile_are_printed_so_that_no_terminal_obeys_them() {
    use prost::Message as _;
    use stagelight_profiler::__pprof::proto::{Mapping, Profile};

    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("odd.pb.gz");
    let mapping = Mapping { id: 1, filename: 1, build_id: 2, ..Mapping::default() };
    let strings = ["", "a\u{1b}]0;owned\u{7}", "\u{202e}00\nff"].map(String::from).to_vec();
    let profile = Profile { mapping: vec![mapping], string_table: strings, ..Profile::default() };
    std::fs::write(&file, profile.encode_to_vec()).unwrap();
    let output = symbolize(&file, &std::env::current_exe().unwrap(), &place.path().join("out"));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(r#""a\u{1b}]0;owned\u{7}": "\u{202e}00\nff""#), "{error}");
}

#[test]
fn what_is_missing_or_no_profile_is_said() {
    let place = tempfile::tempdir().unwrap();
    let junk = place.path().join("junk");
    std::fs::write(&junk, b"\x1f\x8bno gzip").unwrap();
    let own = std::env::current_exe().unwrap();
    let output = symbolize(&junk, &own, &place.path().join("out"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("junk"), "{text}");
    let said = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_stagelight")).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, wants) in [
        (&["symbolize"][..], "which profile?"),
        (&["symbolize", "in"], "where to?"),
        (&["symbolize", "in", "-o", "out"], "--binary PATH"),
        (&["symbolise"], "--help"),
        (&["symbolize", "--colour"], "--colour"),
        (&[], "what shall it do?"),
    ] {
        let (success, text) = said(arguments);
        assert!(!success && text.contains(wants), "{arguments:?}: {text}");
    }
    assert!(said(&["--help"]).0 && said(&["--version"]).0);
}
