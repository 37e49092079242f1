//! The control API, asked by real clients while the process works.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prost::Message as _;
use stagelight::query;
use stagelight_profiler::{Error, Server, serve};
use stagelight_tests::{burn, skip, succeed, tool};

stagelight_profiler::heap_profiler!(lg_sample = 14);

#[query(name = "control.query", key = "select 1", tenant = "acme")]
fn work(kept: &mut Vec<Vec<u8>>) {
    burn(200_000);
    let piece = std::hint::black_box(vec![1; 32 << 10]);
    if kept.len() < 256 {
        kept.push(piece);
    }
}

/// A server with a load beside it, for one test at a time: there is one CPU profile.
struct Scene {
    server: Server,
    stop: &'static AtomicBool,
    load: Option<std::thread::JoinHandle<()>>,
    _alone: MutexGuard<'static, ()>,
}

impl Scene {
    fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let stop: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let load = std::thread::spawn(|| {
            let mut kept = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                work(&mut kept);
            }
        });
        Self { server: serve("127.0.0.1:0").unwrap(), stop, load: Some(load), _alone: alone }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.local_addr())
    }

    /// Status, content type and body.
    fn get(&self, path: &str) -> (u16, String, Vec<u8>) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.get(self.url(path)).call().unwrap();
        let kind =
            response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        (response.status().as_u16(), kind, response.body_mut().read_to_vec().unwrap())
    }

    fn text(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.get(path);
        (status, String::from_utf8(body).unwrap())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.load.take().unwrap().join();
    }
}

/// The parts of `profile.proto` that these tests look at, by the official field numbers.
#[derive(Clone, PartialEq, prost::Message)]
struct Pprof {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<PprofType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<PprofSample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<PprofLocation>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<PprofFunction>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PprofType {
    #[prost(int64, tag = "1")]
    kind: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PprofSample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PprofLocation {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<PprofLine>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PprofLine {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PprofFunction {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// Decodes pprof, follows every reference and gives the sample types and the functions' names.
fn decode(body: &[u8]) -> (Vec<String>, Vec<String>) {
    let mut raw = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut raw).unwrap();
    let pprof = Pprof::decode(&raw[..]).unwrap();
    let text = |id: i64| pprof.string_table[id as usize].clone();
    assert!(!pprof.sample.is_empty());
    for sample in &pprof.sample {
        assert_eq!(sample.value.len(), pprof.sample_type.len());
        for location in &sample.location_id {
            let location = pprof.location.iter().find(|l| l.id == *location).unwrap();
            assert!(location.line.iter().all(|line| pprof.function.iter().any(|f| f.id == line.function_id)));
        }
    }
    (
        pprof.sample_type.iter().map(|t| text(t.kind)).collect(),
        pprof.function.iter().map(|f| text(f.name)).collect(),
    )
}

#[test]
fn every_endpoint_answers_under_load() {
    let scene = Scene::new();
    let (status, kind, body) = scene.get("/debug/pprof/profile?seconds=0.5&hz=999");
    assert_eq!((status, kind.as_str()), (200, "application/octet-stream"));
    let (types, functions) = decode(&body);
    assert_eq!(types, ["samples", "cpu"]);
    assert!(functions.iter().any(|name| name == "control::work"), "{functions:?}");

    let (status, svg) = scene.text("/debug/pprof/profile?seconds=0.3&hz=999&format=svg&by=tenant,stage");
    assert!(status == 200 && svg.contains("tenant: acme") && svg.contains("stage: control.query"));
    let (status, folded) =
        scene.text("/debug/pprof/profile?seconds=0.3&hz=999&format=folded&by=tenant,stage");
    assert!(status == 200 && folded.contains("tenant: acme;stage: control.query;"), "{folded}");

    let (types, functions) = decode(&scene.get("/debug/pprof/heap").2);
    assert_eq!(types, ["inuse_objects", "inuse_space"]);
    assert!(functions.iter().any(|name| name == "control::work"), "{functions:?}");
    let (status, folded) = scene.text("/debug/pprof/heap?format=folded&by=statement");
    assert!(status == 200 && folded.contains("statement: select 1;"), "{folded}");
    let (status, svg) = scene.text("/debug/pprof/heap?seconds=0.05&format=svg");
    assert!(status == 200 && svg.contains("<svg"));

    let (types, functions) = decode(&scene.get("/debug/pprof/allocs?seconds=0.3").2);
    assert_eq!(types, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    assert!(functions.iter().any(|name| name == "control::work"), "{functions:?}");
    let (status, folded) = scene.text("/debug/pprof/allocs?seconds=0.3&format=folded&by=tenant");
    assert!(status == 200 && folded.contains("tenant: acme;"), "{folded}");

    let (status, kind, body) = scene.get("/metrics");
    assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4"));
    assert!(String::from_utf8(body).unwrap().contains("stagelight_stage_calls_total{"));
    let stages: serde_json::Value = serde_json::from_slice(&scene.get("/api/v1/stages").2).unwrap();
    assert!(stages["stages"].as_array().unwrap().iter().any(|s| s["name"] == "control.query"));
    assert_eq!(stages["tenants"][0]["name"], "acme");
    let status: serde_json::Value = serde_json::from_slice(&scene.get("/api/v1/status").2).unwrap();
    let cpu = &status["cpu"];
    assert!(cpu["rung"].is_string() && cpu["rung_limits"].is_string(), "{cpu}");
    assert!(cpu["rungs_refused"].is_array(), "{cpu}");
    assert_eq!(status["heap"]["how"], "jemalloc with framehop");
    assert!(status["overhead"]["percent"].as_f64().unwrap() > 0.0);

    // Functions of the kernel, or why there are none.
    let (code, folded) = scene.text("/debug/pprof/profile?seconds=0.3&hz=999&kernel=1&format=folded");
    assert!(code == 200 && folded.contains("control::work"), "{folded}");
    let status: serde_json::Value = serde_json::from_slice(&scene.get("/api/v1/status").2).unwrap();
    let refused = status["cpu"]["rungs_refused"].to_string();
    assert!(
        status["cpu"]["rung"] == "perf-sigtrap-kernel" || refused.contains("kernel frames: "),
        "{}",
        status["cpu"]
    );
    for path in ["/", "/debug/pprof", "/debug/pprof/"] {
        let (status, page) = scene.text(path);
        assert!(status == 200 && page.contains("href=\"/metrics\""));
    }
}

#[test]
fn a_profile_comes_in_every_format_and_cut_to_what_was_asked_for() {
    let scene = Scene::new();
    let load = "seconds=0.3&hz=999";
    let (status, kind, body) = scene.get(&format!("/debug/pprof/profile?{load}&format=top&by=tenant"));
    let text = String::from_utf8(body).unwrap();
    assert_eq!((status, kind.as_str()), (200, "text/plain; charset=utf-8"));
    assert!(
        text.contains("flat%") && text.contains("control::work") && text.contains("tenant: acme"),
        "{text}"
    );

    let cut = "format=top&by=tenant,statement&sort=cum&limit=1";
    let (status, text) = scene.text(&format!("/debug/pprof/profile?{load}&{cut}"));
    let more = text.lines().filter(|line| line.contains(" more")).count();
    assert!(status == 200 && text.contains("tenant: acme, statement: select 1\n") && more > 0, "{text}");

    let (status, icicle) = scene.text(&format!("/debug/pprof/profile?{load}&format=icicle&tenant=acme"));
    assert!(status == 200 && icicle.contains("CPU time of tenant acme") && icicle.contains("control::work"));

    let json = |path: &str| -> serde_json::Value {
        let (status, kind, body) = scene.get(path);
        assert_eq!((status, kind.as_str()), (200, "application/json"), "{path}");
        serde_json::from_slice(&body).unwrap()
    };
    let query = "statement=select+1&stage=control.query";
    let speedscope = json(&format!("/debug/pprof/profile?{load}&format=speedscope&{query}&by=tenant"));
    let frames = speedscope["shared"]["frames"].as_array().unwrap();
    let tenants: Vec<_> =
        frames.iter().filter_map(|f| f["name"].as_str()?.strip_prefix("tenant: ")).collect();
    assert_eq!(tenants, ["acme"], "all else was left out");
    let firefox = json("/debug/pprof/heap?format=firefox&tenant=acme&lines=1");
    assert_eq!(firefox["threads"][0]["samples"]["weightType"], "bytes");
    let strings = firefox["shared"]["stringArray"].as_array().unwrap();
    let has = |part: &str| strings.iter().any(|s| s.as_str().unwrap().contains(part));
    assert!(has("control::work control.rs:") && has("tests/control.rs"), "{strings:?}");

    // The samples that are left weigh what the tenant's do.
    let folded = |query: &str| {
        let (status, folded) = scene.text(&format!("/debug/pprof/heap?format=folded&{query}"));
        assert_eq!(status, 200, "{folded}");
        folded
    };
    assert!(folded("tenant=acme&by=tenant").lines().all(|line| line.starts_with("tenant: acme;")));
    assert!(folded("tenant=&by=tenant").lines().all(|line| line.starts_with("tenant: (none);")));
    let (status, text) = scene.text("/debug/pprof/heap?tenant=acne");
    assert!(status == 400 && text.contains("no sample has tenant=acne; there are"), "{status} {text}");
    assert!(text.contains("tenant=acme") && text.lines().count() == 1, "{text}");
}

#[test]
fn what_runs_is_seen_and_what_is_recorded_can_be_changed() {
    let scene = Scene::new();
    let collector = stagelight::collector().every(Duration::from_millis(50)).start().unwrap();
    let json = |path: &str| -> serde_json::Value { serde_json::from_slice(&scene.get(path).2).unwrap() };
    wait_for(|| json("/api/v1/active").as_array().unwrap().iter().any(|a| a["path"][0] == "control.query"));
    wait_for(|| {
        let history = json("/api/v1/history?seconds=10");
        let active = history["active"].as_array().unwrap();
        active
            .iter()
            .any(|a| a["stage"] == "control.query" && a["tenant"] == "acme" && a["state"] == "running")
    });
    wait_for(|| json("/api/v1/traces").as_array().unwrap().iter().any(|t| t["labels"]["tenant"] == "acme"));
    let found = |query: &str| json(&format!("/api/v1/traces?{query}")).as_array().unwrap().len();
    assert!(found("tenant=acme&statement=select+1&min_ms=0&limit=1") == 1 && found("") <= 50);
    assert_eq!([found("tenant=nobody"), found("min_ms=3600000"), found("statement=select+2")], [0; 3]);
    let chrome = json("/api/v1/traces?format=chrome");
    assert!(chrome["traceEvents"].as_array().unwrap().iter().any(|event| event["name"] == "control.query"));

    let post = |query: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent
            .post(scene.url(&format!("/api/v1/mode?{query}")))
            .header("x-stagelight", "1")
            .send_empty()
            .unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let (status, text) = post("stage=control.*&mode=off");
    assert!(status == 200 && text.contains("\"matched\":1"), "{status} {text}");
    let calls = || {
        json("/api/v1/stages")["stages"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["name"] == "control.query")
            .unwrap()["calls"]
            .clone()
    };
    // A call that was running when it was switched off may still end; then there are no more.
    let mut before = calls();
    wait_for(|| {
        std::thread::sleep(Duration::from_millis(50));
        std::mem::replace(&mut before, calls()) == before
    });
    assert_eq!(post("stage=*&mode=time").0, 200);
    wait_for(|| calls() != before);
    assert_eq!(post("stage=*&mode=loud").0, 400);
    assert_eq!(scene.get("/api/v1/mode?stage=*&mode=off").0, 405, "a mode is set by POST");
    drop(collector);
}

#[test]
fn queries_are_ordered_and_begin_anew() {
    let scene = Scene::new();
    let json = |path: &str| -> serde_json::Value { serde_json::from_slice(&scene.get(path).2).unwrap() };
    wait_for(|| json("/api/v1/queries")["queries"][0]["calls"].as_u64() > Some(0));
    let before = json("/api/v1/queries?kind=tenant&by=calls&limit=1");
    assert_eq!((&before["queries"][0]["name"], &before["by"]), (&"acme".into(), &"calls".into()));

    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response =
        agent.post(scene.url("/api/v1/queries/reset")).header("x-stagelight", "1").send_empty().unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let reset: serde_json::Value =
        serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
    assert!(reset["since_ns"].as_u64() > before["since_ns"].as_u64());
    wait_for(|| json("/api/v1/queries")["queries"][0]["name"] == "select 1");
    assert_eq!(json("/api/v1/queries")["since_ns"], reset["since_ns"]);
    // What exporters see went on.
    let calls = |path: &str, list: &str| json(path)[list][0]["calls"].as_u64().unwrap();
    let since = calls("/api/v1/queries?kind=tenant", "queries");
    assert!(calls("/api/v1/stages", "tenants") >= before["queries"][0]["calls"].as_u64().unwrap() + since);

    let (status, text) = scene.text("/api/v1/queries?format=table&by=p99_ns");
    assert!(status == 200 && text.contains("since a reset") && text.contains("select 1"), "{text}");
    let (status, text) = scene.text("/api/v1/queries?by=colour");
    assert!(status == 400 && text.contains("alloc_bytes"), "{text}");
    assert_eq!(scene.get("/api/v1/queries?limit=0").0, 400);
    assert_eq!(scene.get("/api/v1/queries/reset").0, 405, "queries are reset by POST");
}

#[test]
fn bad_requests_are_told_what_is_allowed() {
    let scene = Scene::new();
    for (query, range) in [
        ("seconds=0", "0.01 to 3600"),
        ("seconds=1e99", "0.01 to 3600"),
        ("seconds=NaN", "0.01 to 3600"),
        ("hz=0", "1 to 4999"),
        ("hz=1000000", "1 to 4999"),
        ("hz=%00%ff", "1 to 4999"),
        ("format=png", "pprof, svg, icicle, folded, top, speedscope, firefox"),
        ("lines=2", "0 or 1"),
        ("by=colour", "tenant"),
    ] {
        let (status, text) = scene.text(&format!("/debug/pprof/profile?{query}"));
        assert!(
            status == 400 && text.contains(range) && text.lines().count() == 1,
            "{query}: {status} {text}"
        );
    }
    // Unknown ones are told the nearest, and what a path does not take or is given twice is not let pass in silence.
    for (path, sentence) in [
        ("/debug/pprof/heap?tennant=acme", "Did you mean tenant?"),
        ("/debug/pprof/profile?second=1", "Did you mean seconds?"),
        ("/debug/pprof/offcpu?hz=99", "hz is no parameter of this path"),
        ("/debug/pprof/kept?seconds=1", "seconds is no parameter of this path"),
        ("/debug/pprof/profile?past=60s&seconds=1", "don't go together"),
        ("/debug/pprof/wall?seconds=0.1&seconds=0.2", "seconds is given more than once"),
        ("/metrics?tenant=acme", "takes none"),
        ("/api/v1/stages?stage=x", "takes none"),
        ("/api/v1/status?x", "takes none"),
        ("/api/v1/active?tenant=acme", "takes none"),
        ("/api/v1/history?second=9", "Did you mean seconds?"),
        ("/api/v1/counters?by=stage", "It takes seconds"),
        ("/api/v1/queries?kinds=tenant", "Did you mean kind?"),
        ("/api/v1/traces?formatt=chrome", "Did you mean format?"),
        ("/api/v1/kept?number=1", "takes none"),
    ] {
        let (status, text) = scene.text(path);
        assert!(status == 400 && text.contains(sentence), "{path}: {status} {text}");
        assert_eq!(text.lines().count(), 1, "{path}: {text}");
    }
    let (status, text) = scene.text("/debug/pprof/heap?seconds=-1");
    assert!(status == 400 && text.contains("0.01 to 3600"), "{text}");
    let (status, kind, body) = scene.get("/debug/pprof/goroutine");
    let text = String::from_utf8(body).unwrap();
    assert!(
        status == 404 && kind.starts_with("text/plain") && text.contains("/debug/pprof/heap"),
        "{kind} {text}"
    );
}

/// A request as curl makes it: status, location and body.
fn curl(arguments: &[&str], url: &str) -> Option<(u16, String, String)> {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-w", "\n%{http_code} %{redirect_url}"]).args(arguments).arg(url);
    let output = curl.output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, end) = text.rsplit_once('\n')?;
    let (status, place) = end.split_once(' ')?;
    Some((status.parse().unwrap(), place.to_owned(), body.to_owned()))
}

#[test]
fn head_is_answered_without_a_profile_and_slashes_lead_on() {
    let scene = Scene::new();
    let Some((status, _, _)) = curl(&["-I"], &scene.url("/debug/pprof/profile")) else {
        return skip("HEAD by curl", "curl is not installed");
    };
    // Half a minute is what the profile would take.
    assert_eq!(status, 200);
    for (path, expected) in [
        ("/", 200),
        ("/metrics", 200),
        ("/debug/pprof/heap?seconds=600", 200),
        ("/debug/pprof/heap?secs=600", 400),
        ("/debug/pprof/goroutine", 404),
        ("/api/v1/queries/reset", 405),
    ] {
        let (status, _, body) = curl(&["-I"], &scene.url(path)).unwrap();
        assert_eq!(status, expected, "{path}: {body}");
        assert!(status != 200 || !body.contains("content-length: 0"), "{path}: {body}");
    }
    assert!(!scene.text("/api/v1/status").1.contains("is taking"), "no profile was begun");

    for (path, place) in [
        ("/metrics/", "/metrics"),
        ("/debug/pprof/heap//?format=folded&by=tenant", "/debug/pprof/heap?format=folded&by=tenant"),
        ("/api/v1/status/", "/api/v1/status"),
    ] {
        let (status, to, _) = curl(&[], &scene.url(path)).unwrap();
        assert_eq!((status, to), (308, scene.url(place)), "{path}");
    }
    assert_eq!(curl(&["-L"], &scene.url("/metrics/")).unwrap().0, 200);
    assert_eq!(curl(&["-X", "DELETE"], &scene.url("/metrics")).unwrap().0, 405);
    assert_eq!(curl(&[], &scene.url("//metrics")).unwrap().0, 404);
}

#[test]
fn a_time_is_taken_with_its_unit_and_without() {
    let scene = Scene::new();
    for time in ["seconds=0.1", "seconds=0.1s", "seconds=100ms"] {
        let (status, _, body) = scene.get(&format!("/debug/pprof/profile?hz=999&{time}"));
        assert_eq!(status, 200, "{time}: {}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn a_second_profile_is_told_who_takes_one_and_until_when() {
    let scene = Scene::new();
    let url = scene.url("/debug/pprof/profile?seconds=1");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ureq::get(&url).call().unwrap().status().as_u16());
        wait_for(|| scene.text("/api/v1/status").1.contains("is taking a CPU profile"));
        let (status, text) = scene.text("/debug/pprof/profile?seconds=1");
        assert!(status == 409 && text.contains("a client of the control API"), "{status} {text}");
        assert!(text.contains("for another") && text.contains(" s;"), "{text}");
        assert_eq!(first.join().unwrap(), 200);
    });
}

#[test]
fn figures_come_before_profiles_that_were_asked_for_earlier() {
    const PROFILES: usize = 6;
    let scene = Scene::new();
    stagelight_profiler::heap_metrics(Duration::from_secs(1)).unwrap();
    assert_eq!(scene.get("/metrics").0, 200);
    let done = AtomicUsize::new(0);
    let connections = |scene: &Scene| -> u64 {
        let status: serde_json::Value = serde_json::from_slice(&scene.get("/api/v1/status").2).unwrap();
        status["control"]["connections"].as_u64().unwrap()
    };
    std::thread::scope(|scope| {
        let scene = &scene;
        for _ in 0..PROFILES {
            scope.spawn(|| {
                assert_eq!(scene.get("/debug/pprof/heap?format=svg&by=tenant").0, 200);
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        // Each has its connection, and status has one of its own.
        wait_for(|| connections(scene) > PROFILES as u64 || done.load(Ordering::Relaxed) > 0);
        for path in ["/metrics", "/api/v1/stages", "/metrics"] {
            assert_eq!(scene.get(path).0, 200);
        }
        // Two profiles are made at a time. Behind them, figures would have come when all but the
        // last was done.
        let before = done.load(Ordering::Relaxed);
        assert!(before < PROFILES - 1, "figures waited for {before} profiles");
    });
    assert_eq!(done.load(Ordering::Relaxed), PROFILES);
}

#[test]
fn a_client_that_goes_away_ends_its_profile() {
    let scene = Scene::new();
    let mut curl = Command::new("curl");
    curl.args(["-s", "-m", "1", "-o", "/dev/null"]).arg(scene.url("/debug/pprof/profile?seconds=600"));
    match curl.status() {
        Err(error) => return skip("a client that goes away", &format!("curl: {error}")),
        Ok(status) => assert_eq!(status.code(), Some(28), "curl gives up after a second"),
    }
    wait_for(|| scene.get("/debug/pprof/profile?seconds=0.1").0 == 200);
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "it did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_and_so_is_an_open_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = serve(address).unwrap_err();
    assert!(matches!(error, Error::Io(..)) && error.to_string().contains(&address.to_string()), "{error}");
    let error = serve("0.0.0.0:0").unwrap_err();
    assert!(matches!(error, Error::Refused(_)) && error.to_string().contains("127.0.0.1"), "{error}");
    assert!(serve("not an address").is_err());
}

#[test]
fn a_server_that_is_dropped_frees_its_port() {
    let server = serve("127.0.0.1:0").unwrap();
    let address = server.local_addr();
    drop(server);
    drop(serve(address).unwrap());
}

#[test]
fn go_tool_pprof_reads_over_http() {
    let Some(go) = tool(&["go", "/usr/lib/go-1.19/bin/go"]) else {
        return skip("go tool pprof", "go is not installed");
    };
    let scene = Scene::new();
    for (path, function) in
        [("/debug/pprof/profile?seconds=1&hz=499", "control::work"), ("/debug/pprof/heap", "control::work")]
    {
        for report in ["-top", "-traces"] {
            let mut pprof = Command::new(&go);
            pprof.args(["tool", "pprof", report, "-symbolize=none"]).arg(scene.url(path));
            pprof.env("PPROF_TMPDIR", std::env::temp_dir());
            let output = succeed(&mut pprof);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            // pprof shortens paths in front of a name.
            assert!(text.contains(function), "{report} {path}: {text}");
        }
    }
}

#[test]
fn the_past_is_given_and_what_triggers_had_kept() {
    use stagelight_profiler::{Trigger, continuous};
    let scene = Scene::new();
    let (status, text) = scene.text("/debug/pprof/profile?past=10s");
    assert!(status == 501 && text.contains("no continuous profile runs"), "{status} {text}");
    let continuous = continuous().hz(199).start().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let (status, text) = scene.text("/debug/pprof/profile?past=10s&format=top&tenant=acme");
    assert!(status == 200 && text.contains("control::work"), "{status} {text}");
    let (_, text) = scene.text("/api/v1/status");
    let past: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(past["cpu"]["past_seconds"].as_f64().unwrap() > 0.3, "{past}");
    let (status, _, firefox) = scene.get("/debug/pprof/profile?past=10s&format=firefox&lines=1");
    assert!(status == 200 && String::from_utf8(firefox).unwrap().contains("tests/control.rs"));
    assert!(scene.text("/debug/pprof/profile?past=soon").1.contains("past must be"));

    let (status, text) = scene.text("/debug/pprof/kept");
    assert!(status == 400 && text.contains("no trigger has had a profile kept"), "{status} {text}");
    let keeper = continuous.keeper().on(Trigger::when("test", |_| Some("always".into())));
    let collector =
        stagelight::collector().every(Duration::from_millis(50)).exporter(keeper).start().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let kept = loop {
        let kept: serde_json::Value = serde_json::from_str(&scene.text("/api/v1/kept").1).unwrap();
        if let Some(kept) = kept["kept"].get(0) {
            break kept.clone();
        }
        assert!(Instant::now() < deadline, "what the trigger kept is listed");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((kept["reason"].as_str(), kept["number"].as_u64()), (Some("test: always"), Some(1)));
    let (status, text) = scene.text("/debug/pprof/kept?number=1&format=folded&by=path");
    assert!(status == 200 && text.contains("stage: control.query;"), "{status} {text}");
    let (status, _, firefox) = scene.get("/debug/pprof/kept?format=firefox&lines=1");
    assert!(status == 200 && String::from_utf8(firefox).unwrap().contains("tests/control.rs"));
    assert!(scene.text("/debug/pprof/kept?number=7").1.contains("have the numbers 1"));
    collector.stop();
}
