//! Names that users choose reach people's terminals by many ways, and no terminal obeys them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stagelight::{TraceSettings, query};
use stagelight_profiler::serve;
use stagelight_tests::{burn, skip, succeed, tool};

stagelight_profiler::heap_profiler!(lg_sample = 14);

/// Sets a terminal's title, rings, turns the direction of writing, and has a joiner of no width.
const TENANT: &str = "acme\u{1b}]0;owned\u{7}\u{202e}emca\u{200b}";
const STATEMENT: &str = "select\r\u{9b}31m\u{2066}1\u{7f}\nfrom t";
const SHOWN: [&str; 2] =
    [r"acme\u{1b}]0;owned\u{7}\u{202e}emca\u{200b}", r"\r\u{9b}31m\u{2066}1\u{7f}\nfrom t"];

#[query(name = "readable.query", key = statement, tenant = tenant)]
fn work(statement: &str, tenant: &str) -> Vec<u8> {
    burn(300_000);
    std::hint::black_box(vec![1; 32 << 10])
}

fn is_hidden(c: char) -> bool {
    let invisible = ['\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{2028}'];
    c.is_control() && !matches!(c, '\n' | '\t') || invisible.contains(&c)
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Ends the load, also when an assertion fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_way_out_of_the_process_leads_control_characters_to_a_terminal() {
    let stop = AtomicBool::new(false);
    let server = serve("127.0.0.1:0").unwrap();
    let traces = Some(TraceSettings { head: 0.1, slow: None });
    let collector = stagelight::collector().every(Duration::from_millis(50)).traces(traces).start().unwrap();
    stagelight_profiler::heap_metrics(Duration::from_secs(1)).unwrap();
    let url = |path: &str| format!("http://{}{path}", server.local_addr());
    let get = |path: &str| -> String {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        agent.get(url(path)).call().unwrap().body_mut().read_to_string().unwrap()
    };
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let mut kept = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                kept.push(work(STATEMENT, TENANT));
                kept.truncate(200);
            }
        });
        let whole = format!("seconds=0.4&hz=499&by=statement,tenant&tenant={}", percent_encoded(TENANT));
        let mut paths: Vec<String> = ["top", "folded", "svg", "icicle", "speedscope", "firefox"]
            .iter()
            .map(|format| format!("/debug/pprof/profile?format={format}&{whole}"))
            .collect();
        paths.push("/debug/pprof/heap?format=top&by=tenant,statement".into());
        paths.extend(["/metrics", "/api/v1/stages", "/api/v1/queries"].map(String::from));
        paths.extend(
            ["?format=table", "?kind=tenant&format=table"].map(|query| format!("/api/v1/queries{query}")),
        );
        paths.extend(["/api/v1/active", "/api/v1/traces", "/api/v1/traces?format=chrome"].map(String::from));
        paths.push("/api/v1/counters?seconds=0.2".into());
        paths.push(format!("/debug/pprof/heap?tenant={}", percent_encoded("\u{202e}no such\u{7}")));
        paths.push(format!("/{}", percent_encoded(TENANT)));
        for path in paths {
            let text = get(&path);
            assert!(!text.contains(is_hidden), "{path}: {text:?}");
            let is_json = ["queries", "stages", "active", "traces"].iter().any(|name| path.ends_with(name));
            if is_json {
                // JSON has escapes of its own, and what a program reads is what was given.
                serde_json::from_str::<serde_json::Value>(&text).unwrap();
                assert!(text.contains(r"\u2066") || path.ends_with("active"), "{path}: {text}");
            } else if path.contains("by=") {
                let text = text.replace(r"\\", r"\").replace(':', ";");
                assert!(SHOWN.iter().all(|shown| text.contains(shown)), "{path}: {text}");
            }
        }
        let Some(go) = tool(&["go", "/usr/lib/go-1.19/bin/go"]) else {
            return skip("go tool pprof -tags", "go is not installed");
        };
        for report in ["-tags", "-comments", "-traces"] {
            let mut pprof = Command::new(&go);
            pprof.args(["tool", "pprof", report, "-symbolize=none"]);
            pprof.arg(url(&format!("/debug/pprof/profile?{whole}")));
            pprof.env("PPROF_TMPDIR", std::env::temp_dir());
            let text = String::from_utf8(succeed(&mut pprof).stdout).unwrap();
            assert!(!text.contains(is_hidden) && text.contains(SHOWN[0]), "{report}: {text:?}");
        }
    });
    collector.stop();
}
