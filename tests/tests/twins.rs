//! What an attribute does to a function: nothing but recording.
//!
//! The programs in `fixtures/twins` print values, the order of drops, callers' locations and names of every
//! kind of function. Each is built with recording and without, where the attributes do nothing, for each
//! edition: both must print the same.

use std::process::Command;

use stagelight_tests::fixture::Fixture;
use stagelight_tests::succeed;

#[test]
fn an_annotated_function_does_what_its_plain_twin_does() {
    let twins = Fixture::new("twins");
    // The editions of the programs are set for each, of which Cargo warns.
    let built = |features: &[&str]| {
        succeed(twins.cargo("build").args(["--quiet", "--workspace"]).args(features));
        let run = |program: &str| {
            let output = succeed(&mut Command::new(twins.target().join("debug").join(program)));
            String::from_utf8(output.stdout).unwrap()
        };
        ["edition_2018", "edition_2021", "edition_2024", "renamed", "through"].map(run)
    };
    let plain = built(&[]);
    let annotated = built(&["--features", "enabled"]);
    for (plain, annotated) in plain.iter().zip(&annotated) {
        for (plain, annotated) in plain.lines().zip(annotated.lines()) {
            assert_eq!(plain, annotated);
        }
        assert_eq!(plain.lines().count(), annotated.lines().count());
    }
    // The programs can tell: editions differ in when the last expression's temporaries end.
    let tail = |program: &str| program.lines().find(|line| line.starts_with("tail_plain")).map(str::to_owned);
    assert_eq!(tail(&plain[0]), tail(&plain[1]));
    assert_ne!(tail(&plain[1]), tail(&plain[2]));
    assert!(plain.iter().take(3).all(|program| program.lines().count() > 70));
}

/// A stage is more code than a compiler would copy, so small functions are told to be inlined.
#[test]
fn a_small_stage_is_inlined_as_its_plain_twin_is() {
    let inlined = Fixture::new("inlined");
    succeed(inlined.cargo("rustc").args(["--release", "--lib", "--", "--emit=asm"]));
    let deps = inlined.target().join("release/deps");
    let asm = std::fs::read_dir(deps).unwrap().flatten().map(|entry| entry.path());
    let asm = asm.filter(|path| path.extension().is_some_and(|extension| extension == "s"));
    let asm =
        std::fs::read_to_string(asm.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap());
    let asm = asm.unwrap();
    // A function's lines: from its label to the one that says its size.
    let function = |name: &str| {
        let label = |line: &&str| line.starts_with("_ZN") && line.ends_with(':') && line.contains(name);
        let lines = asm.lines().skip_while(|line| !label(line));
        lines.take_while(|line| !line.contains(".size")).collect::<Vec<_>>().join("\n")
    };
    let of_sdk = "stagelight6record";
    for (caller, small) in
        [("8of_plain17h", "5plain17h"), ("8of_small17h", "5small17h"), ("9of_result17h", "6result17h")]
    {
        let code = function(caller);
        assert!(!code.is_empty() && !code.contains(small), "{caller} calls {small}:\n{code}");
        assert_eq!(code.contains(of_sdk), caller != "8of_plain17h", "{code}");
    }
    // It can tell: a large one is called.
    assert!(function("8of_large17h").contains("5large17h"));
}
