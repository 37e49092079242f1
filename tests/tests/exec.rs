//! A program that calls `exec` while it is profiled: nothing that a profile left pending kills the
//! program that comes after.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::any::Any;
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use stagelight_profiler::{Error, continuous, counters, cpu, never_execs, off_cpu, wall};
use stagelight_tests::cpu::{RUNGS, forbid};
use stagelight_tests::{burn, child, is_child, skip, succeed};

/// Each kind of profile that signals threads, and the rung that it is forced to.
const KINDS: [(&str, &str); 9] = [
    ("cpu", RUNGS[0]),
    ("cpu", RUNGS[1]),
    ("cpu", RUNGS[2]),
    ("cpu", RUNGS[3]),
    ("kernel", RUNGS[0]),
    ("continuous", RUNGS[0]),
    ("off_cpu", ""),
    ("wall", ""),
    ("counters", ""),
];

/// Sessions are kept, not stopped: `exec` finds them under way.
fn profile(kind: &str) -> Result<Box<dyn Any>, Error> {
    Ok(match kind {
        "cpu" => Box::new(cpu().hz(4999).start()?),
        "kernel" => Box::new(cpu().hz(4999).kernel_frames().start()?),
        "continuous" => Box::new(continuous().hz(4999).start()?),
        "off_cpu" => Box::new(off_cpu().min_wait(Duration::ZERO).start()?),
        "wall" => Box::new(wall().hz(250).start()?),
        _ => Box::new(counters().start()?),
    })
}

/// Blocks or unblocks SIGURG in the calling thread.
fn urgent(how: libc::c_int) {
    // SAFETY: the set is ours, and changes the calling thread alone.
    unsafe {
        let mut urgent: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut urgent, libc::SIGURG);
        libc::pthread_sigmask(how, &raw const urgent, std::ptr::null_mut());
    }
}

/// The next life of this process. Not by `std`, which unblocks all signals before.
fn exec(left: u32) -> ! {
    let text = |bytes: Vec<u8>| CString::new(bytes).unwrap();
    let args: Vec<CString> = std::env::args_os().map(|arg| text(arg.into_vec())).collect();
    let env = std::env::vars_os().filter(|(name, _)| name != "LEFT");
    let mut env: Vec<CString> =
        env.map(|(name, value)| text([name.into_vec(), value.into_vec()].join(&b'='))).collect();
    env.push(text(format!("LEFT={left}").into_bytes()));
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(&args), pointers(&env));
    // SAFETY: lists of texts that end in null and outlive the call.
    unsafe { libc::execve(args[0], args.as_ptr(), env.as_ptr()) };
    panic!("{}", std::io::Error::last_os_error());
}

/// One life: starts a profile, has threads run and wait, and begins the next.
fn live(left: u32) {
    // What is pending since the life before comes now.
    urgent(libc::SIG_UNBLOCK);
    if left == 0 {
        println!("lived on");
        return;
    }
    let _session = match profile(&std::env::var("KIND").unwrap()) {
        Ok(session) => session,
        Err(error) => return println!("refused: {error}"),
    };
    for _ in 0..2 {
        std::thread::spawn(|| {
            loop {
                burn(100_000);
                std::thread::sleep(Duration::from_micros(100));
            }
        });
    }
    let end = move || {
        // Memory that `exec` has to take away makes it longer.
        std::hint::black_box(vec![1_u8; 8 << 20]);
        if left.is_multiple_of(3) {
            urgent(libc::SIG_BLOCK);
        }
        burn(2_000_000);
        exec(left - 1)
    };
    // By the first thread and by others.
    if left.is_multiple_of(2) {
        end();
    }
    std::thread::spawn(end).join().unwrap();
}

#[test]
fn a_program_that_execs_while_it_is_profiled_lives_on() {
    let test = "a_program_that_execs_while_it_is_profiled_lives_on";
    if is_child() {
        return live(std::env::var("LEFT").unwrap().parse().unwrap());
    }
    // `STAGELIGHT_EXECS=10000` is the long form.
    let execs = std::env::var("STAGELIGHT_EXECS").unwrap_or_else(|_| "30".into());
    let only = std::env::var("STAGELIGHT_EXECS_KIND").ok();
    for (kind, rung) in KINDS {
        let name = format!("{kind} {rung}");
        if only.as_ref().is_some_and(|only| *only != name.trim()) {
            continue;
        }
        let mut command = child(test);
        let output =
            command.env("KIND", kind).env("STAGELIGHT_CPU_RUNG", rung).env("LEFT", &execs).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        if let Some((_, why)) = text.split_once("refused: ") {
            skip(&format!("exec during a profile: {name}"), why.lines().next().unwrap_or(""));
            continue;
        }
        assert_eq!(output.status.signal(), None, "{name}: {output:?}");
        assert!(output.status.success() && text.contains("lived on"), "{name}: {output:?}");
        eprintln!("{name}: {execs} execs");
    }
}

#[test]
fn where_exec_cannot_be_guarded_profiles_leave_the_kernel_out_or_say_why_there_are_none() {
    let test = "where_exec_cannot_be_guarded_profiles_leave_the_kernel_out_or_say_why_there_are_none";
    if !is_child() {
        match child("probe").output() {
            Ok(output) if String::from_utf8_lossy(&output.stdout).contains("sees the kernel") => {
                succeed(&mut child(test));
            }
            _ => skip("profiles where exec can't be guarded", "the kernel can't be seen in any case"),
        }
        return;
    }
    forbid(&[libc::SYS_bpf]);
    let rung = |kernel: bool| {
        let cpu = if kernel { cpu().kernel_frames() } else { cpu() };
        let profile = cpu.duration(Duration::from_millis(20)).run().unwrap();
        let stats = profile.stats();
        (stats.rung.clone(), stats.rungs_refused.join("; "))
    };
    let (name, why) = rung(false);
    assert_eq!(name, "perf-sigtrap-user");
    assert!(why.contains("exec") && why.contains("CAP_BPF") && why.contains("never_execs"), "{why}");
    let (name, why) = rung(true);
    assert!(name == "perf-sigtrap-user" && why.contains("kernel frames: "), "{name}: {why}");
    let why = off_cpu().start().unwrap_err().to_string();
    assert!(why.contains("never_execs") && why.contains("wall()"), "{why}");
    let seen = counters().duration(Duration::from_millis(20)).run().unwrap();
    let counter = |name| seen.counters.iter().find(|counter| counter.name == name).unwrap();
    assert!(counter("page_faults").user_only);
    assert!(counter("context_switches").absent.as_ref().is_some_and(|why| why.contains("never_execs")));
    // The promise makes up for the guard.
    never_execs();
    assert_eq!(rung(false), ("perf-sigtrap".into(), String::new()));
    assert_eq!(rung(true).0, "perf-sigtrap-kernel");
    drop(off_cpu().start().unwrap());
}

/// Not a test of its own: tells its parent whether a profile sees the kernel.
#[test]
fn probe() {
    if is_child() && cpu().start().is_ok_and(|session| session.rung() == "perf-sigtrap") {
        println!("sees the kernel");
    }
}
