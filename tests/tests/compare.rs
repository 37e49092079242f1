//! Real profiles, added up and compared, and what `go tool pprof` reads of it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::process::Command;

use stagelight::query;
use stagelight_profiler::{Profile, cpu};
use stagelight_tests::{burn, skip, succeed, tool};

const WORK: u64 = 200_000_000;

#[query(key = "old", tenant = tenant)]
fn old_way(tenant: &str) {
    burn(WORK);
}

#[query(key = "new", tenant = tenant)]
fn new_way(tenant: &str) {
    burn(WORK);
}

fn profile(work: impl FnOnce()) -> Profile {
    let session = cpu().hz(499).lines().start().unwrap();
    work();
    session.stop().unwrap()
}

#[test]
fn two_profiles_are_added_up_and_compared() {
    let before = profile(|| {
        old_way("acme");
        old_way("globex");
    });
    let after = profile(|| {
        new_way("acme");
        old_way("globex");
        old_way("globex");
    });

    let both = before.merge(&after).unwrap();
    assert_eq!(both.total(), before.total() + after.total());
    assert_eq!(both.stats().samples, before.stats().samples + after.stats().samples);

    let diff = after.diff(&before).unwrap();
    assert_eq!(diff.total(), after.total() - before.total());
    // Half of the work is far more than chance.
    let half = WORK as i64 / 2;
    let statements = diff.filter("tenant", "acme").label_totals("statement");
    let [(gained, more), (lost, less)] = &statements[..] else { panic!("{statements:?}") };
    assert_eq!((gained.as_str(), lost.as_str()), ("new", "old"));
    assert!(*more > half && *less < -half, "{statements:?}");

    let text = |render: &dyn Fn(&mut Vec<u8>) -> std::io::Result<()>| {
        let mut out = Vec::new();
        render(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let svg = text(&|out| diff.by_label("tenant").write_flamegraph(out));
    assert!(svg.contains("compare::new_way") && svg.contains("tenant: acme"));
    let svg = text(&|out| diff.filter("tenant", "acme").write_base_flamegraph(out));
    assert!(
        svg.contains("compare::old_way") && !svg.contains("compare::new_way"),
        "what is new has no width"
    );
    // Inlined functions and lines were asked for.
    let firefox = text(&|out| after.write_firefox(out));
    assert!(firefox.contains("tests/compare.rs"), "{firefox}");

    let acme = diff.filter("tenant", "acme").changes();
    let top = text(&|out| acme.write_top(out));
    // Our table has a row for each line of a function, pprof's one for all.
    let cum = |table: &str, function: &str| {
        let rows = table.lines().filter(|line| line.contains(function));
        let cum = |row: &str| row.split_whitespace().nth(3)?.trim_end_matches("ms").parse::<f64>().ok();
        let sum = rows.map(|row| cum(row).unwrap_or_else(|| panic!("{table}"))).sum::<f64>();
        assert!(sum != 0.0, "{function} is not in:\n{table}");
        sum
    };
    assert!(cum(&top, "compare::new_way") > 0.0 && cum(&top, "compare::old_way") < 0.0, "{top}");
    let Some(go) = tool(&["go", "/usr/lib/go-1.19/bin/go"]) else {
        return skip("go tool pprof on a difference", "go is not installed");
    };
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("diff.pb.gz");
    acme.write_pprof(std::fs::File::create(&file).unwrap()).unwrap();
    let mut pprof = Command::new(go);
    pprof.args(["tool", "pprof", "-symbolize=none", "-top", "-unit=ms"]).arg(&file);
    pprof.env("PPROF_TMPDIR", place.path());
    let gos = String::from_utf8(succeed(&mut pprof).stdout).unwrap();
    for function in ["compare::new_way", "compare::old_way"] {
        let (ours, gos) = (cum(&top, function), cum(&gos, function));
        assert!((ours - gos).abs() < 0.02, "{function}: {ours} ms in our table, {gos} ms in pprof's");
    }
}
