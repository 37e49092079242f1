//! The main example, run as a newcomer runs it, held against its own truth.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use serde_json::Value;
use stagelight_tests::{skip, succeed, target_dir, tool};

/// The example, built.
fn example() -> PathBuf {
    // `cargo test` has built it, unless it was asked for this package alone.
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        succeed(Command::new(env!("CARGO")).args([
            "build",
            "-q",
            "-p",
            "stagelight-examples",
            "--example",
            "orders",
        ]));
    });
    target_dir().join("debug/examples/orders")
}

/// Runs the example for some seconds on a rung and gives its report.
fn run(out: &Path, rung: &str) -> (Value, String) {
    let mut orders = Command::new(example());
    orders.args(["--seconds", "4", "--threads", "3", "--out"]).arg(out).env("STAGELIGHT_CPU_RUNG", rung);
    let output = succeed(&mut orders);
    let report = std::fs::read(out.join("report.json")).unwrap();
    (serde_json::from_slice(&report).unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// Name and count of each object of an array.
fn counts(array: &Value, field: &str) -> BTreeMap<String, u64> {
    let count = |item: &Value| (item["name"].as_str().unwrap().to_owned(), item[field].as_u64().unwrap());
    array.as_array().unwrap().iter().map(count).collect()
}

/// The series of a metric by one of its labels. The example's names need no unescaping.
fn series(metrics: &str, metric: &str, label: &str) -> BTreeMap<String, u64> {
    let value = |line: &str| {
        let labels = line.strip_prefix(metric)?.strip_prefix('{')?;
        let (labels, value) = labels.rsplit_once("} ")?;
        let value: f64 = value.parse().unwrap();
        let name = labels.split_once(&format!("{label}=\""))?.1.split('"').next()?;
        Some((name.to_owned(), value as u64))
    };
    metrics.lines().filter_map(value).collect()
}

fn check(rung: &str) {
    let out = tempfile::tempdir().unwrap();
    let (report, text) = run(out.path(), rung);

    let metrics = std::fs::read_to_string(out.path().join("metrics.prom")).unwrap();
    let truth = counts(&report["truth"]["statements"], "calls");
    assert!(truth.len() > 20);
    assert_eq!(series(&metrics, "stagelight_statement_queries_total", "statement"), truth);
    let truth = counts(&report["truth"]["stages"], "calls");
    assert!(truth.len() > 10);
    assert_eq!(series(&metrics, "stagelight_stage_calls_total", "stage"), truth);
    assert_eq!(counts(&report["stages"], "calls"), truth);

    let profiler = &report["profiler"];
    assert_eq!(profiler["rung"], rung);
    let (samples, complete) =
        (profiler["samples"].as_f64().unwrap(), profiler["complete_stacks"].as_f64().unwrap());
    assert!(samples > 100.0 && complete >= 0.99 * samples, "{complete} of {samples}");
    let (sampled, truth) =
        (counts(&report["tenants"], "cpu_ns"), counts(&report["truth"]["tenants"], "cpu_ns"));
    let share = |of: &BTreeMap<String, u64>, name: &str| of[name] as f64 / of.values().sum::<u64>() as f64;
    // Three standard errors of a share of one half, besides the five points that are allowed with many samples; more, since
    // on a busy machine samples weigh unlike.
    let allowed = 0.05 + 2.5 / samples.sqrt();
    for tenant in truth.keys() {
        let (sampled, truth) = (share(&sampled, tenant), share(&truth, tenant));
        assert!((sampled - truth).abs() < allowed, "{tenant}: {sampled} sampled, {truth} in truth");
    }

    let svg = std::fs::read_to_string(out.path().join("cpu.svg")).unwrap();
    for function in ["sqlite3VdbeExec", "sqlite3_step", "orders::service::", "thread_start"] {
        assert!(svg.contains(function), "{function} is missing in cpu.svg");
    }
    assert!(
        std::fs::read_to_string(out.path().join("cpu-by-tenant.svg")).unwrap().contains("tenant: umbrella")
    );
    assert!(std::fs::read_to_string(out.path().join("heap.svg")).unwrap().contains("orders::"));
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.contains("umbrella") && text.contains(rung) && text.contains("cpu.svg"), "{text}");

    match tool(&["promtool"]) {
        None => skip("promtool check metrics on the example", "promtool is not installed"),
        Some(promtool) => {
            let metrics = std::fs::File::open(out.path().join("metrics.prom")).unwrap();
            succeed(Command::new(promtool).args(["check", "metrics"]).stdin(metrics));
        }
    }
    match tool(&["go", "/usr/lib/go-1.19/bin/go"]) {
        None => skip("go tool pprof on the example", "go is not installed"),
        Some(go) => {
            for (file, function) in [("cpu.pb.gz", "sqlite3VdbeExec"), ("heap.pb.gz", "orders::")] {
                for report in ["-top", "-traces"] {
                    let mut pprof = Command::new(&go);
                    pprof.args(["tool", "pprof", report]).arg(out.path().join(file));
                    let output = succeed(pprof.env("PPROF_TMPDIR", out.path()));
                    let text = String::from_utf8_lossy(&output.stdout).into_owned();
                    assert!(text.contains(function) && !text.contains("0x0000"), "{report} {file}: {text}");
                }
            }
        }
    }
}

#[test]
fn counts_are_exact_and_profiles_true_on_perf() {
    // Asked of the machine as the example will ask it.
    match stagelight_profiler::cpu().start().map(|session| session.rung().to_owned()) {
        Ok(rung) if rung == "perf-sigtrap" => {}
        other => return skip("the example on perf", &format!("a profile here gets {other:?}")),
    }
    check("perf-sigtrap");
}

#[test]
fn counts_are_exact_and_profiles_true_on_timers() {
    check("ctimer");
}

#[test]
fn whoever_asks_the_running_example_gets_a_profile() {
    use std::io::{BufRead as _, BufReader};

    let out = tempfile::tempdir().unwrap();
    let mut orders = Command::new(example());
    orders.args(["--seconds", "10", "--listen", "127.0.0.1:0", "--out"]).arg(out.path());
    let mut orders = orders.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(orders.stderr.take().unwrap()).lines().map_while(Result::ok);
    let server = stderr.find_map(|line| Some(line.split_once("listening on ")?.1.to_owned())).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    // While it profiles itself, others are told so; then it is their turn.
    let body = loop {
        let url = format!("{server}/debug/pprof/profile?seconds=1&format=folded&by=tenant,stage");
        let mut response = agent.get(url).call().unwrap();
        let body = response.body_mut().read_to_string().unwrap();
        match response.status().as_u16() {
            200 => break body,
            409 => std::thread::sleep(std::time::Duration::from_millis(100)),
            status => panic!("{status}: {body}"),
        }
    };
    assert!(body.contains("tenant: umbrella;stage: step;") && body.contains("sqlite3VdbeExec"), "{body}");
    assert!(orders.wait().unwrap().success());
}

#[test]
fn a_file_that_cant_be_written_costs_no_other() {
    let out = tempfile::tempdir().unwrap();
    // One can't be made, and the disk of another is full.
    std::fs::create_dir(out.path().join("cpu.svg")).unwrap();
    for name in ["heap.pb.gz", "metrics.prom"] {
        std::os::unix::fs::symlink("/dev/full", out.path().join(name)).unwrap();
    }
    let mut orders = Command::new(example());
    let output = orders.args(["--seconds", "1", "--threads", "2", "--out"]).arg(out.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let [text, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(text.contains("umbrella") && text.contains("\nNot written\n"), "{text}");
    for (name, why) in
        [("cpu.svg", "Is a directory"), ("heap.pb.gz", "No space left"), ("metrics.prom", "No space left")]
    {
        for told in [&text, &errors] {
            assert!(told.lines().any(|line| line.contains(name) && line.contains(why)), "{name}: {told}");
        }
        assert!(!out.path().join(name).is_file(), "no part of {name} is left");
    }
    assert!(errors.contains("3 of 7 files are not written"), "{errors}");
    let written = |name: &str| std::fs::read(out.path().join(name)).unwrap();
    assert!(serde_json::from_slice::<Value>(&written("report.json")).is_ok());
    for (name, beginning) in
        [("cpu-by-tenant.svg", &b"<?xml"[..]), ("heap.svg", b"<?xml"), ("cpu.pb.gz", &[0x1f, 0x8b])]
    {
        assert!(written(name).starts_with(beginning), "{name}");
    }
}

#[test]
fn where_the_disk_runs_full_the_report_is_of_what_was_done() {
    // Little more than the first rows take, so that the database fails while the load runs.
    const SCRIPT: &str =
        "mount -t tmpfs -o size=6m none \"$0\" && exec \"$1\" --seconds 600 --threads 2 --out \"$0\"";
    let out = tempfile::tempdir().unwrap();
    let mut full = Command::new("unshare");
    full.args(["-rm", "sh", "-c", "mount -t tmpfs none \"$0\"", out.path().to_str().unwrap()]);
    if !full.output().is_ok_and(|output| output.status.success()) {
        return skip("the example on a full disk", "no namespace can be made for a small disk");
    }
    let mut full = Command::new("unshare");
    full.args(["-rm", "sh", "-c", SCRIPT]).arg(out.path()).arg(example());
    let started = std::time::Instant::now();
    let output = full.output().unwrap();
    let [text, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("the load ended early: "), "{errors}");
    assert!(started.elapsed().as_secs() < 600, "nobody waits for a load that has ended");
    // All figures are there, whichever files had room.
    for section in ["Stages", "Statements by", "Tenants by", "Stagelight itself", "Written"] {
        assert!(text.contains(&format!("\n{section}")), "{section}: {text}");
    }
    let told = |name: &str| text.lines().any(|line| line.contains(&format!("/{name}")));
    assert!(["metrics.prom", "report.json", "cpu.svg", "heap.pb.gz"].iter().all(|name| told(name)), "{text}");
}
