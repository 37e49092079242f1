//! Promises about the crates themselves.

use std::path::{Path, PathBuf};

use stagelight_tests::fixture::{Fixture, cargo, root};
use stagelight_tests::succeed;

/// Invariant 9: with the feature off the attributes leave no trace in the code.
#[test]
fn without_the_feature_the_generated_code_is_the_same() {
    let off = Fixture::new("off");
    succeed(off.cargo("rustc").args(["--release", "--lib", "--", "--emit=asm"]));
    let deps = off.target().join("release/deps");
    let asm = std::fs::read_dir(deps)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "s"))
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .unwrap();
    let asm = std::fs::read_to_string(asm).unwrap();
    assert!(!asm.contains("stagelight"), "nothing of the sdk is called");
    // The compiler gives two functions one body, and one of them as an alias of the other, just where their code is
    // the same.
    let alias = |line: &str, function: &str| {
        let function = format!("{}{function}17h", function.len());
        line.split_once(" = ").is_some_and(|(one, other)| {
            [one, other].iter().all(|name| name.contains(&function))
                && one.contains("without") != other.contains("without")
        })
    };
    for function in ["sum", "parse", "block", "find", "labelled", "locked"] {
        assert!(
            asm.lines().any(|line| alias(line, function)),
            "{function} differs from its twin without an attribute"
        );
    }
    // The comparison can tell: this one has a twin that does something else.
    assert!(!asm.lines().any(|line| alias(line, "differs")) && asm.contains("7differs17h"));
}

/// Invariant 6: the sdk stays light.
#[test]
fn the_sdk_pulls_in_few_crates_and_none_that_is_heavy() {
    let crates = |features: &str| {
        let output = succeed(
            cargo()
                .args([
                    "tree",
                    "-p",
                    "stagelight",
                    "-e",
                    "normal",
                    "--prefix",
                    "none",
                    "--offline",
                    "--features",
                ])
                .arg(features)
                .current_dir(root()),
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let mut crates: Vec<String> =
            text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        crates.sort();
        crates.dedup();
        crates
    };
    let exporting = crates("enabled,prometheus");
    assert!(exporting.len() <= 8, "{exporting:?}");
    // What a library takes for locks of `parking_lot`'s shape: those of `parking_lot` and no more.
    let mut more = crates("enabled,parking_lot,prometheus");
    more.retain(|name| !exporting.contains(name));
    assert_eq!(more, ["cfg-if", "lock_api", "parking_lot", "parking_lot_core", "scopeguard", "smallvec"]);
    for heavy in ["tokio", "hyper", "rustls", "openssl", "rusqlite", "axum"] {
        assert!(!exporting.iter().any(|name| name == heavy), "{heavy}");
    }
}

/// Invariants 5 and 8: who knows what, told by who imports what.
#[test]
fn modules_keep_to_their_rooms() {
    let forbidden: [(&str, &[&str]); 12] = [
        ("sdk/src/record", &["crate::collect", "crate::export", "crate::metric"]),
        ("sdk/src/lock", &["crate::collect", "crate::export", "crate::metric"]),
        ("sdk/src/metric", &["crate::collect", "crate::export"]),
        ("sdk/src/collect", &["crate::export", "serde_json"]),
        ("profiler/src/cpu", &["crate::heap", "crate::control", "crate::render"]),
        ("profiler/src/heap", &["perf_event", "crate::control", "crate::render"]),
        ("profiler/src/lock", &["crate::heap", "crate::control", "crate::render"]),
        ("profiler/src/profile", &["crate::heap", "crate::control", "crate::render"]),
        ("profiler/src/symbolize", &["crate::heap", "crate::cpu", "crate::control"]),
        ("profiler/src/unwind", &["crate::cpu", "crate::heap", "crate::profile"]),
        ("profiler/src/render", &["crate::cpu", "crate::heap", "crate::control"]),
        ("profiler/src/control", &["perf_event", "jemalloc_sys", "prost"]),
    ];
    for (room, forbidden) in forbidden {
        for file in files(&root().join(room)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for (number, line) in
                text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
            {
                for name in forbidden {
                    assert!(!line.contains(name), "{}:{}: {line}", file.display(), number + 1);
                }
            }
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
