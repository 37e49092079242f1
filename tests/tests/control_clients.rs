//! Clients of the control API that mean harm, are slow, or go away; by real sockets, while honest
//! ones are answered.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use stagelight_profiler::{Error, control, serve};

stagelight_profiler::heap_profiler!();

#[stagelight::stage(name = "clients.stage")]
fn stage() {}

/// Connections and refusals are counted for all of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is sent, as it is, and all that comes back until the other side ends.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    all(stream)
}

fn all(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request with more headers; the connection ends with the answer.
fn request(address: SocketAddr, line: &str, headers: &str) -> (u16, String) {
    let answer = exchange(address, &format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"));
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.unwrap_or_else(|| panic!("{line}: {answer:?}")).parse().unwrap();
    (status, answer)
}

fn status(address: SocketAddr) -> Value {
    let (code, answer) = request(address, "GET /api/v1/status", "Host: localhost\r\n");
    assert_eq!(code, 200);
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn refused(address: SocketAddr, cause: &str) -> u64 {
    status(address)["control"]["refused"][cause].as_u64().unwrap_or_else(|| panic!("{cause} is not counted"))
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_web_page_can_read_nothing_and_change_nothing() {
    let _alone = alone();
    stage();
    let server = control().allow_host("profiles.example.com").serve("127.0.0.1:0").unwrap();
    let address = server.local_addr();
    let own = format!("Host: 127.0.0.1:{}\r\n", address.port());
    let before = refused(address, "foreign");

    // By a name of its own that leads here, on all paths, and whatever it asks for.
    for line in
        ["GET /api/v1/queries", "GET /metrics", "HEAD /", "GET /nothing", "POST /api/v1/queries/reset"]
    {
        for host in ["evil.example", "evil.example:6060", "localhost.evil.example", "10.0.0.1"] {
            let (code, answer) = request(address, line, &format!("Host: {host}\r\nX-Stagelight: 1\r\n"));
            assert_eq!(code, 403, "{line} {host}: {answer}");
            assert!(line.starts_with("HEAD") || answer.contains("allow_host"), "{answer}");
        }
    }
    assert!(refused(address, "foreign") >= before + 20);
    // From a page that is not ours.
    for headers in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        for line in ["GET /api/v1/queries", "POST /api/v1/mode?stage=*&mode=off"] {
            let (code, answer) = request(address, line, &format!("{own}{headers}X-Stagelight: 1\r\n"));
            assert_eq!(code, 403, "{line} {headers}: {answer}");
            assert!(!answer.to_lowercase().contains("access-control"), "{answer}");
        }
    }
    // What a form, or a script without asking first, can send.
    for headers in [
        "",
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n",
        "Content-Type: text/plain\r\nContent-Length: 0\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 0\r\n",
    ] {
        for path in ["mode?stage=*&mode=off", "heap?lg_sample=off", "queries/reset"] {
            let (code, answer) =
                request(address, &format!("POST /api/v1/{path}"), &format!("{own}{headers}"));
            let curl = format!("curl -X POST -H 'X-Stagelight: 1' 'http://{address}/api/v1/{path}'");
            assert!(code == 403 && answer.contains(&curl), "{code} {answer}");
        }
    }
    assert!(refused(address, "no_header") >= 12);
    // The question that a browser asks first, for a script that would send the header.
    let (code, answer) = request(
        address,
        "OPTIONS /api/v1/queries/reset",
        &format!("{own}Origin: http://evil.example\r\nAccess-Control-Request-Headers: x-stagelight\r\n"),
    );
    assert!(code == 403 && !answer.to_lowercase().contains("access-control"), "{answer}");
    let modes = || {
        let (_, answer) = request(address, "GET /api/v1/stages", &own);
        let stages: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        stages["stages"][0]["calls"].as_u64().unwrap()
    };
    let calls = modes();
    stage();
    assert_eq!(modes(), calls + 1, "nothing was switched off");

    // Honest ones: curl, our own page, a link to us, and the name that was allowed.
    for headers in [
        own.clone(),
        format!("Host: localhost:{}\r\n", address.port()),
        format!("{own}Origin: http://{address}\r\nSec-Fetch-Site: same-origin\r\n"),
        format!("{own}Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"),
        format!(
            "{own}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
        ),
        "Host: profiles.example.com\r\nOrigin: https://profiles.example.com\r\n".into(),
    ] {
        let (code, answer) = request(address, "GET /metrics", &headers);
        assert_eq!(code, 200, "{headers}: {answer}");
        let answer = answer.to_lowercase();
        for header in
            ["x-content-type-options: nosniff", "x-frame-options: deny", "cross-origin-resource-policy"]
        {
            assert!(answer.contains(header), "{header}");
        }
    }
    let (code, answer) =
        request(address, "POST /api/v1/mode?stage=none.such&mode=off", &format!("{own}X-Stagelight: 1\r\n"));
    assert_eq!(code, 200, "{answer}");
    assert!(
        exchange(address, "GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200"),
        "no Host in HTTP/1.0"
    );

    let error = control().allow_host("no name").serve("127.0.0.1:0").unwrap_err();
    assert!(matches!(error, Error::Invalid(_)) && error.to_string().contains("no name of a host"), "{error}");
}

#[test]
fn clients_that_send_half_a_request_take_no_place_from_others() {
    let _alone = alone();
    let server = serve("127.0.0.1:0").unwrap();
    let address = server.local_addr();
    let started = Instant::now();
    let mut slow: Vec<TcpStream> = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n").unwrap();
        slow.push(stream);
        if number % 10 == 0 {
            let (code, _) = request(address, "GET /metrics", "Host: localhost\r\n");
            assert_eq!(code, 200, "beside {number} others");
        }
    }
    let control = &status(address)["control"];
    let (open, made_room) = (&control["connections"], &control["refused"]["made_room"]);
    assert!(open.as_u64() <= Some(64) && made_room.as_u64() >= Some(36), "{control}");
    // Whoever goes on, a byte at a time, gets no longer for it.
    for stream in &mut slow[60..] {
        let _ = stream.write_all(b"X");
    }
    // All are ended, each of those that were not at once after ten seconds.
    let mut told = 0;
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answer = String::new();
        // A connection that is ended with bytes that nobody read ends in an error.
        let _ = stream.read_to_string(&mut answer);
        told += u32::from(answer.starts_with("HTTP/1.1 408"));
    }
    assert!(told > 0, "who is late is told so");
    assert!(started.elapsed() > Duration::from_secs(5), "a request may take its time");
    wait_for("connections are given back", || status(address)["control"]["connections"] == 1);
    assert!(refused(address, "slow_request") > 0);
}

#[test]
fn however_many_want_profiles_figures_are_given() {
    let _alone = alone();
    let server = serve("127.0.0.1:0").unwrap();
    let address = server.local_addr();
    let profile = "GET /debug/pprof/heap?seconds=600";
    let mut takers = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{profile} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        takers.push(stream);
    }
    // Those that came first have their places once one more is told so.
    let told = || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{profile} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    wait_for("one too many is told so", || told().contains(" 503 "));
    assert!(told().to_lowercase().contains("retry-after"));
    for path in ["/metrics", "/api/v1/stages", "/api/v1/status"] {
        assert_eq!(request(address, &format!("GET {path}"), "Host: localhost\r\n").0, 200, "{path}");
    }
    assert!(refused(address, "too_many_profiles") >= 2);
    drop(takers);
    wait_for("places are given back", || {
        request(address, "GET /debug/pprof/heap?seconds=0.01", "Host: localhost\r\n").0 == 200
    });
}

#[test]
fn a_client_that_has_sent_all_gets_its_answer_and_one_that_is_gone_ends_its_profile() {
    let _alone = alone();
    let server = serve("127.0.0.1:0").unwrap();
    let address = server.local_addr();
    for path in ["/metrics", "/debug/pprof/wall?seconds=1.5&format=folded"] {
        for version in ["1.0", "1.1"] {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET {path} HTTP/{version}\r\nHost: localhost\r\n\r\n").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let answer = all(stream);
            assert!(answer.contains(" 200 OK\r\n"), "{path}: {answer}");
        }
    }
    let running = || status(address)["cpu"]["running"].to_string();
    for half_closed in [false, true] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /debug/pprof/wall?seconds=600 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        if half_closed {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        wait_for("the profile begins", || running().contains("client"));
        drop(stream);
        wait_for("the profile of one that is gone ends", || !running().contains("client"));
    }
}

#[test]
fn all_addresses_of_a_name_are_served_on_one_port() {
    let _alone = alone();
    let server = serve("localhost:0").unwrap();
    let port = server.local_addr().port();
    let mut named: Vec<SocketAddr> = ("localhost", port).to_socket_addrs().unwrap().collect();
    named.dedup();
    // A family that the machine has not may still have the name.
    named.retain(|address| std::net::TcpListener::bind((address.ip(), 0)).is_ok());
    assert_eq!(server.local_addrs(), named);
    // Both families, whatever this machine's `localhost` stands for.
    let both: Vec<SocketAddr> = ["127.0.0.1:0", "[::1]:0"].map(|address| address.parse().unwrap()).into();
    let server = serve(&both[..]).unwrap();
    assert_eq!(server.local_addrs().len(), if std::net::TcpListener::bind(both[1]).is_ok() { 2 } else { 1 });
    for address in server.local_addrs() {
        assert_eq!(address.port(), server.local_addr().port());
        let (code, _) = request(*address, "GET /metrics", &format!("Host: {address}\r\n"));
        assert_eq!(code, 200, "{address}");
    }
    drop(server);
    let open = "[::]:0".parse::<SocketAddr>().unwrap();
    let error = serve(&[both[0], open][..]).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
}
