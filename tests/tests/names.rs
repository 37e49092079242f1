//! What functions are called, as others read it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;

use stagelight_profiler::cpu;
use stagelight_tests::{burn, child, is_child, skip, succeed, tool};

struct Table<T>(T);

trait Scan {
    fn scan(&self, ns: u64);
}

impl<T: Debug> Scan for Table<Vec<T>> {
    #[inline(never)]
    fn scan(&self, ns: u64) {
        burn(ns);
        // So that it is no tail call.
        std::hint::black_box(ns);
    }
}

#[inline(never)]
fn run<S: Scan, const N: usize>(what: &S, ns: u64) {
    what.scan(ns);
    std::hint::black_box(N);
}

fn work() {
    run::<_, 7>(&Table(vec![1_u8]), 150_000_000);
    run::<_, 8>(&Table(vec!["a"]), 150_000_000);
}

/// What a child does: a profile of itself, with lines, to where it is told.
fn take_profile() {
    let session = cpu().hz(999).lines().start().unwrap();
    work();
    let profile = session.stop().unwrap();
    let out = std::env::var_os("PROFILE").unwrap();
    profile.write_pprof(std::fs::File::create(out).unwrap()).unwrap();
}

fn go() -> Option<String> {
    tool(&["go", "/usr/lib/go-1.19/bin/go"])
}

fn pprof(go: &str, report: &[&str], file: &Path) -> String {
    let mut pprof = Command::new(go);
    pprof.args(["tool", "pprof"]).args(report).arg(file);
    pprof.env("PPROF_TMPDIR", file.parent().unwrap());
    String::from_utf8(succeed(&mut pprof).stdout).unwrap()
}

#[test]
fn go_reads_the_names_of_generic_and_trait_functions_whole() {
    let Some(go) = go() else { return skip("names in go tool pprof", "go is not installed") };
    for lines in [false, true] {
        let builder = cpu().hz(999);
        let session = if lines { builder.lines() } else { builder }.start().unwrap();
        work();
        let profile = session.stop().unwrap();
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("cpu.pb.gz");
        profile.write_pprof(std::fs::File::create(&file).unwrap()).unwrap();
        // What a reader finds who asks for nothing but the table.
        let top = pprof(&go, &["-top", "-cum", "-nodecount=200", "-nodefraction=0"], &file);
        let name = |row: &str| row.split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
        let shown: Vec<String> = top.lines().map(name).map(|name| name.replace(" (inline)", "")).collect();
        let mut table = Vec::new();
        profile.write_folded(&mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        let ours: Vec<&str> = table
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .flat_map(|(stack, _)| stack.split(';'))
            .filter(|frame| frame.contains("names::") && (frame.contains("scan") || frame.contains("run")))
            .collect();
        assert!(ours.iter().any(|name| name.starts_with('<')), "{table}");
        for name in ours {
            // Our own formats may have the line as well.
            let name = name.split(" names.rs").next().unwrap();
            assert!(shown.iter().any(|shown| shown == name), "{name} is not in:\n{top}");
        }
    }
}

#[inline(always)]
fn inlined(ns: u64) {
    burn(ns);
}

#[inline(never)]
fn around(ns: u64) {
    inlined(ns);
    std::hint::black_box(ns);
}

#[test]
fn every_format_shows_lines_and_where_an_inlined_function_belongs() {
    let session = cpu().hz(999).lines().start().unwrap();
    around(150_000_000);
    let profile = session.stop().unwrap();
    type Write<'a> = &'a dyn Fn(&mut Vec<u8>) -> std::io::Result<()>;
    let formats: [(&str, Write<'_>); 6] = [
        ("svg", &|out| profile.write_flamegraph(out)),
        ("icicle", &|out| profile.write_icicle(out)),
        ("top", &|out| profile.write_top(out)),
        ("folded", &|out| profile.write_folded(out)),
        ("speedscope", &|out| profile.write_speedscope(out)),
        ("firefox", &|out| profile.write_firefox(out)),
    ];
    for (format, write) in formats {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for function in ["names::around", "names::inlined", "stagelight_tests::burn"] {
            let file = if function.starts_with("names") { "names.rs" } else { "lib.rs" };
            let place = text.split(&format!("{function} {file}:")).nth(1);
            let line = place.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
            let line = line.and_then(|line| line.parse::<u32>().ok());
            assert!(line.is_some_and(|line| line > 0), "{format}: {function} has no line:\n{text}");
        }
    }
}

/// A copy of this test program that objcopy makes.
fn copy(place: &Path, options: &[&str]) -> Option<PathBuf> {
    let program = place.join("program");
    let own = std::env::current_exe().unwrap();
    let made = Command::new(tool(&["objcopy"])?).args(options).arg(own).arg(&program).output().unwrap();
    made.status.success().then_some(program)
}

#[test]
fn a_program_has_its_names_though_its_file_is_gone_or_a_loader_started_it() {
    if is_child() {
        if let Some(own) = std::env::var_os("REMOVE") {
            std::fs::remove_file(own).unwrap();
        }
        return take_profile();
    }
    let Some(go) = go() else { return skip("names of a program that is gone", "go is not installed") };
    let test = "a_program_has_its_names_though_its_file_is_gone_or_a_loader_started_it";
    let loader = "/lib64/ld-linux-x86-64.so.2";
    for by_loader in [false, true] {
        if by_loader && !Path::new(loader).exists() {
            skip("a program that the loader starts", "there is no loader of that name");
            continue;
        }
        let place = tempfile::tempdir().unwrap();
        let (program, profile) = (place.path().join("program"), place.path().join("cpu.pb.gz"));
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut command = Command::new(if by_loader { Path::new(loader) } else { &program });
        if by_loader {
            command.arg(&program);
        } else {
            command.env("REMOVE", &program);
        }
        command.args(child(test).get_args()).env("STAGELIGHT_TEST_CHILD", "1").env("PROFILE", &profile);
        succeed(&mut command);
        let top = pprof(&go, &["-symbolize=none", "-top"], &profile);
        assert!(top.contains("names::run"), "{top}");
        let raw = pprof(&go, &["-symbolize=none", "-raw"], &profile);
        let mappings = raw.split_once("Mappings\n").unwrap().1;
        assert!(mappings.contains(&format!(" {} ", program.display())), "{mappings}");
    }
}

/// Runs a copy of this test program, and gives what pprof says of the profile that it takes of
/// itself.
fn of_copy(go: &str, test: &str, program: &Path) -> [String; 2] {
    let profile = program.with_extension("pb.gz");
    let mut command = Command::new(program);
    command.args(child(test).get_args()).env("STAGELIGHT_TEST_CHILD", "1").env("PROFILE", &profile);
    succeed(&mut command);
    [&["-comments"][..], &["-symbolize=none", "-top", "-lines"]].map(|report| pprof(go, report, &profile))
}

#[test]
fn debug_information_is_read_however_it_is_compressed() {
    if is_child() {
        return take_profile();
    }
    let Some(go) = go() else { return skip("compressed debug information", "go is not installed") };
    for form in ["zlib", "zstd"] {
        let place = tempfile::tempdir().unwrap();
        let Some(program) = copy(place.path(), &[&format!("--compress-debug-sections={form}")]) else {
            skip(&format!("debug information that is compressed with {form}"), "objcopy can't make it");
            continue;
        };
        let test = "debug_information_is_read_however_it_is_compressed";
        let [comments, top] = of_copy(&go, test, &program);
        assert!(top.contains("tests/tests/names.rs:"), "{form}: {top}\n{comments}");
        assert!(!comments.contains("program can't be read"), "{form}: {comments}");
    }
}

#[test]
fn a_profile_says_which_debug_information_can_not_be_read() {
    if is_child() {
        return take_profile();
    }
    let Some(go) = go() else { return skip("unreadable debug information", "go is not installed") };
    let test = "a_profile_says_which_debug_information_can_not_be_read";
    let place = tempfile::tempdir().unwrap();
    let Some(program) = copy(place.path(), &["--compress-debug-sections=zlib"]) else {
        return skip("unreadable debug information", "objcopy can't compress it");
    };
    // The kind of compression is told by the first word of a section.
    let text = succeed(Command::new("objdump").arg("-h").arg(&program)).stdout;
    let text = String::from_utf8(text).unwrap();
    let row = text.lines().find(|row| row.split_whitespace().nth(1) == Some(".debug_info")).unwrap();
    let offset = u64::from_str_radix(row.split_whitespace().nth(5).unwrap(), 16).unwrap() as usize;
    let mut bytes = std::fs::read(&program).unwrap();
    assert_eq!(bytes[offset], 1, "zlib");
    bytes[offset] = 77;
    std::fs::write(&program, bytes).unwrap();
    let [comments, top] = of_copy(&go, test, &program);
    assert!(comments.contains("program can't be read: .debug_info"), "{comments}");
    assert!(top.contains("names::run"), "functions have names all the same: {top}");

    let place = tempfile::tempdir().unwrap();
    let program = copy(place.path(), &["--strip-debug"]).unwrap();
    let [comments, _] = of_copy(&go, test, &program);
    assert!(comments.contains("there is no debug information: program"), "{comments}");
}
