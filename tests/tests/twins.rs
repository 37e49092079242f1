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
