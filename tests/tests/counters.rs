//! Counters by stage and statement, against what the kernel's own accounts say.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stagelight::{query, stage};
use stagelight_profiler::{Counters, CountersSession, Error, counters, serve};
use stagelight_tests::cpu::forbid;
use stagelight_tests::{burn, child, is_child, skip, succeed};

/// One look runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(what: &str) -> Option<CountersSession> {
    match counters().start() {
        Ok(session) => Some(session),
        Err(Error::Refused(why)) => {
            skip(what, &why);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

const PAGES: usize = 4096;

/// Touches fresh memory, page by page.
#[stage(name = "counters.touch")]
fn touch() {
    const PAGE: usize = 4096;
    // SAFETY: a new mapping affects no other memory, is written within its length and taken away again. Small pages, so that
    // each is a fault.
    unsafe {
        let map = libc::mmap(
            std::ptr::null_mut(),
            PAGES * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(map, libc::MAP_FAILED);
        libc::madvise(map, PAGES * PAGE, libc::MADV_NOHUGEPAGE);
        for page in 0..PAGES {
            map.cast::<u8>().add(page * PAGE).write_volatile(1);
        }
        libc::munmap(map, PAGES * PAGE);
    }
}

#[query(name = "counters.fault", key = "fault")]
fn fault() {
    touch();
}

#[query(name = "counters.burn", key = "burn")]
fn work(ns: u64) {
    burn(ns);
}

fn estimate(counters: &Counters, statement: bool, row: &str, name: &str) -> f64 {
    let rows = if statement { &counters.by_statement } else { &counters.by_stage };
    let row = rows.iter().find(|candidate| candidate.name == row);
    row.and_then(|row| counters.estimate(row, name)).map_or(0.0, |estimate| estimate.value as f64)
}

#[test]
fn each_stage_has_its_own_faults_and_its_own_time() {
    let _alone = alone();
    let Some(session) = start("counters") else { return };
    std::thread::spawn(|| {
        for _ in 0..10 {
            fault();
            work(100_000_000);
        }
    })
    .join()
    .unwrap();
    let counters = session.stop().unwrap();
    eprintln!("{counters}");
    let truth = (10 * PAGES) as f64;
    let faults = estimate(&counters, false, "counters.touch", "page_faults");
    assert!((faults / truth - 1.0).abs() < 0.1, "{faults} of {truth} faults in the stage that has them");
    assert!(estimate(&counters, true, "fault", "page_faults") >= faults);
    assert!(estimate(&counters, true, "burn", "page_faults") < 0.05 * truth);
    let total = counters.counter("page_faults").unwrap().total as f64;
    assert!(total >= truth && faults <= 1.1 * total, "{total} faults in all");
    let time = estimate(&counters, true, "burn", "task_clock_ns");
    assert!((time / 1e9 - 1.0).abs() < 0.1, "{time} ns of a second");

    for counter in &counters.counters {
        match &counter.absent {
            Some(why) => assert!(!why.is_empty()),
            None => assert!(counter.running > 0.0),
        }
    }
    let burn = counters.by_stage.iter().find(|row| row.name == "counters.burn").unwrap();
    match counters.counter("cycles") {
        Some(_) => assert!((0.05..10.0).contains(&counters.ipc(burn).unwrap())),
        None => {
            let text = counters.to_string();
            assert!(text.contains("cycles: ") && counters.ipc(burn).is_none(), "{text}");
            skip("instructions per cycle", text.lines().find(|line| line.starts_with("cycles: ")).unwrap());
        }
    }
}

#[test]
fn the_kernel_faults_of_one_system_call_all_count() {
    let _alone = alone();
    let Some(session) = start("faults within a system call") else { return };
    std::thread::spawn(read_into_fresh_memory).join().unwrap();
    let counters = session.stop().unwrap();
    if counters.counter("page_faults").is_none_or(|counter| counter.user_only) {
        return skip("faults within a system call", "counters see user code alone here");
    }
    eprintln!("{counters}");
    let truth = (5 * PAGES) as f64;
    let faults = estimate(&counters, true, "zeros", "page_faults");
    assert!((faults / truth - 1.0).abs() < 0.1, "{faults} of {truth}");
}

/// The kernel writes to pages that nobody has touched: many faults, and one return to the program.
#[query(name = "counters.read", key = "zeros")]
fn read_into_fresh_memory() {
    use std::io::Read as _;
    for _ in 0..5 {
        let size = PAGES * 4096;
        // SAFETY: as in `touch`; the bytes are zero, which any `u8` may be.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map =
                libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            libc::madvise(map, size, libc::MADV_NOHUGEPAGE);
            let bytes = std::slice::from_raw_parts_mut(map.cast::<u8>(), size);
            std::fs::File::open("/dev/zero").unwrap().read_exact(bytes).unwrap();
            libc::munmap(map, size);
        }
    }
}

#[test]
fn where_it_is_forbidden_the_error_says_what_it_takes() {
    let _alone = alone();
    if !is_child() {
        succeed(&mut child("where_it_is_forbidden_the_error_says_what_it_takes"));
        return;
    }
    forbid(&[libc::SYS_perf_event_open]);
    let error = counters().duration(Duration::from_millis(10)).run().unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("CAP_PERFMON") && text.contains("page_faults"), "{text}");
}

#[test]
fn the_control_api_gives_them() {
    let _alone = alone();
    let server = serve("127.0.0.1:0").unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |query: &str| {
        let url = format!("http://{}/api/v1/counters?{query}", server.local_addr());
        let mut response = agent.get(url).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    std::thread::scope(|scope| {
        let faulting = scope.spawn(|| (0..20).for_each(|_| fault()));
        let (status, text) = get("seconds=0.3");
        faulting.join().unwrap();
        if status == 403 {
            return skip("counters over HTTP", &text);
        }
        assert_eq!(status, 200, "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let stages = json["stages"].as_array().unwrap();
        let touch = stages.iter().find(|stage| stage["name"] == "counters.touch").unwrap();
        assert!(touch["page_faults"]["value"].as_u64().unwrap() > 1000, "{text}");
        assert!(json["counters"]["page_faults"]["total"].as_u64().unwrap() > 1000, "{text}");
        let cycles = &json["counters"]["cycles"];
        assert!(cycles["total"].is_u64() || cycles["absent"].is_string(), "{text}");
    });
    assert_eq!(get("seconds=0").0, 400);
}
