//! The profilers on programs that do their worst.
//!
//! `cargo run --release -p stagelight-benches --bin soak -- --minutes 5` takes CPU profiles at 4,999 Hz. It shares the time
//! among the rungs that can be had here (`--seconds` as well; `--rung ctimer` takes one alone) and prints some lines for each. It exits
//! with 1 if a signal is unaccounted for, an allocation happened in the handler, a profile lost samples that were kept, or a
//! process crashed or hung.
//!
//! `-- heap --minutes 60` takes heap, allocation and CPU profiles while threads come and go, memory is resized and freed by
//! others, and sampling is switched. It exits with 1 if a tenant's live bytes at the end are further from the truth than
//! sampling may be, a profile failed, or the process crashed or hung. Built with `--no-default-features` it does the same to a
//! `Sampler` around libc's allocator.
//!
//! Each rung, and the heap, has a process of its own, so that a crash is seen and does not end the others.

mod allocator;
mod heap;
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
    let mut arguments = std::env::args().skip(1).peekable();
    let of_heap = arguments.next_if(|argument| argument == "heap").is_some();
    while let Some(argument) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match (argument.as_str(), value.parse::<u64>()) {
            ("--minutes", Ok(minutes)) => seconds = minutes * 60,
            ("--seconds", Ok(value)) => seconds = value,
            ("--rung", _) if RUNGS.contains(&value.as_str()) && !of_heap => {
                rungs.retain(|rung| *rung == value);
            }
            ("--trial", Ok(value)) if of_heap => return heap::run(Duration::from_secs(value)),
            ("--trial", Ok(value)) => return trial::run(Duration::from_secs(value)),
            _ => {
                eprintln!(
                    "soak: {argument} {value}? There are --minutes, --seconds and --rung ({RUNGS:?}), and before them `heap`."
                );
                return ExitCode::from(2);
            }
        }
    }
    let failed = if of_heap {
        let mut trial = trial_command();
        trial.arg("heap");
        usize::from(!soak("heap", trial, Duration::from_secs(seconds)))
    } else {
        let each = Duration::from_secs((seconds / rungs.len() as u64).max(2));
        let soak = |rung: &&str| {
            let mut trial = trial_command();
            trial.env("STAGELIGHT_CPU_RUNG", rung);
            soak(rung, trial, each)
        };
        rungs.iter().filter(|rung| !soak(rung)).count()
    };
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn trial_command() -> Command {
    Command::new(std::env::current_exe().unwrap_or_default())
}

/// Soaks in a process of its own and says what came of it; `false` on any violation.
fn soak(name: &str, trial: Command, time: Duration) -> bool {
    let verdict = match run(trial, time) {
        Ok((status, report)) if status.code() == Some(i32::from(trial::REFUSED)) => {
            println!("{name}: not permitted here: {report}");
            return true;
        }
        Ok((status, report)) => {
            print!("{name}: {report}");
            match status.code() {
                Some(0) => Ok("crashes 0, hangs 0"),
                Some(code) => Err(format!("VIOLATED, exit code {code}")),
                None => Err(format!("CRASHED, {status}")),
            }
        }
        Err(error) => Err(error),
    };
    match verdict {
        Ok(text) => println!("{name}: {text}"),
        Err(ref text) => println!("{name}: {text}"),
    }
    verdict.is_ok()
}

fn run(mut trial: Command, time: Duration) -> Result<(ExitStatus, String), String> {
    let mut trial = trial
        .args(["--trial", &time.as_secs().to_string()])
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
