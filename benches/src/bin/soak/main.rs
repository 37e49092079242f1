//! The CPU profiler at 4,999 Hz on a program that does its worst, on each rung in turn.
//!
//! `cargo run --release -p stagelight-benches --bin soak -- --minutes 5` shares the time among the rungs that can be had
//! here (`--seconds` as well; `--rung ctimer` takes one alone) and prints a line for each. It exits with 1 if a signal is
//! unaccounted for, an allocation happened in the handler, a profile lost samples that were kept, or a process crashed or
//! hung.
//!
//! Each rung has a process of its own, so that a crash is seen and does not end the others.

mod allocator;
mod storms;
mod trial;
mod watchdog;

use std::io::Read as _;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const RUNGS: [&str; 4] = ["perf-sigtrap", "perf-setsig", "ctimer", "sampler-thread"];

/// After its time, a process is given so long to end its last profile.
const GRACE: Duration = Duration::from_secs(90);

fn main() -> ExitCode {
    let mut seconds = 60;
    let mut rungs = RUNGS.to_vec();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match (argument.as_str(), value.parse::<u64>()) {
            ("--minutes", Ok(minutes)) => seconds = minutes * 60,
            ("--seconds", Ok(value)) => seconds = value,
            ("--rung", _) if RUNGS.contains(&value.as_str()) => rungs.retain(|rung| *rung == value),
            ("--trial", Ok(value)) => return trial::run(Duration::from_secs(value)),
            _ => {
                eprintln!("soak: {argument} {value}? There are --minutes, --seconds and --rung ({RUNGS:?}).");
                return ExitCode::from(2);
            }
        }
    }
    let each = Duration::from_secs((seconds / rungs.len() as u64).max(2));
    let failed = rungs.into_iter().filter(|rung| !soak(rung, each)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Soaks one rung and says what came of it; `false` on any violation.
fn soak(rung: &str, time: Duration) -> bool {
    let verdict = match trial(rung, time) {
        Ok((status, report)) if status.code() == Some(i32::from(trial::REFUSED)) => {
            println!("{rung}: not permitted here: {report}");
            return true;
        }
        Ok((status, report)) => {
            print!("{rung}: {report}");
            match status.code() {
                Some(0) => Ok("crashes 0, hangs 0"),
                Some(code) => Err(format!("VIOLATED, exit code {code}")),
                None => Err(format!("CRASHED, {status}")),
            }
        }
        Err(error) => Err(error),
    };
    match verdict {
        Ok(text) => println!("{rung}: {text}"),
        Err(ref text) => println!("{rung}: {text}"),
    }
    verdict.is_ok()
}

fn trial(rung: &str, time: Duration) -> Result<(ExitStatus, String), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut trial = Command::new(program)
        .args(["--trial", &time.as_secs().to_string()])
        .env("STAGELIGHT_CPU_RUNG", rung)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let start = Instant::now();
    loop {
        match trial.try_wait() {
            Ok(Some(status)) => {
                let mut report = String::new();
                // A report that can't be read is one that is missing, which the reader sees.
                let _ = trial.stdout.take().map(|mut out| out.read_to_string(&mut report));
                return Ok((status, report));
            }
            Ok(None) if start.elapsed() < time + GRACE => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                let _ = trial.kill();
                return Err(format!("HUNG: not ended {GRACE:?} after its time"));
            }
        }
    }
}
