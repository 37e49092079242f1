//! The heap profiler in this process: through all storms at once, while sampling and its rate are switched, and for the last fifth
//! of the time at one rate, at whose end each tenant's live bytes are compared with what it knows that it keeps.

mod hoard;
mod piece;
mod random;
mod storms;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::allocator::IN_HANDLER;
use crate::storms::STARTED;
use crate::trial::abort_on_panics;
use crate::watchdog::{self, Pulse};
use hoard::{HOARDS, Verdict};
use storms::{FAILED, REFUSED, STORMS, SWITCHED};

/// At the end: some hundred samples or more of each tenant.
const LG_SAMPLE: u32 = 14;

/// Soaks and prints a report.
pub(crate) fn run(time: Duration) -> ExitCode {
    abort_on_panics();
    // They get their entries before the many do.
    HOARDS.iter().for_each(|hoard| hoard.turn_over(&mut random::Random::new(1)));
    let stop = AtomicBool::new(false);
    let compared = std::thread::scope(|scope| {
        let pulses: Vec<&Pulse> = STORMS.iter().map(|storm| &storm.pulse).collect();
        let stop = &stop;
        scope.spawn(move || watchdog::watch(&pulses, stop));
        STORMS.iter().for_each(|storm| drop(scope.spawn(|| storm.rage(stop))));
        let start = Instant::now();
        wait(start, time * 4 / 5);
        let compared = storms::settle(LG_SAMPLE).and_then(|()| {
            eprintln!("heap: from now on one rate");
            wait(start, time);
            // While all else goes on.
            hoard::compare()
        });
        stop.store(true, Ordering::Relaxed);
        compared
    });
    match compared {
        Ok(verdicts) => report(&verdicts),
        Err(error) => {
            println!("no comparison: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits until so long after the start, and says each minute what was done so far.
fn wait(start: Instant, until: Duration) {
    const EACH: Duration = Duration::from_secs(60);
    while start.elapsed() < until {
        let next_minute = EACH * (start.elapsed().as_secs() / EACH.as_secs() + 1) as u32;
        std::thread::sleep(next_minute.min(until).saturating_sub(start.elapsed()));
        eprintln!("heap: {:.0} s: {}", start.elapsed().as_secs_f64(), progress());
    }
}

fn progress() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("?").trim();
    let rounds: Vec<String> =
        STORMS.iter().map(|storm| format!("{} {}", storm.pulse.name, storm.pulse.rounds())).collect();
    format!("{}; resident {resident}", rounds.join(", "))
}

fn report(verdicts: &[Verdict]) -> ExitCode {
    println!("rounds: {}", progress());
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (switched, failed, in_handler) = (count(&SWITCHED), count(&FAILED), count(&IN_HANDLER));
    println!(
        "  threads started: {}; switched {switched} times; resized in place {}, moved {}",
        count(&STARTED),
        count(&piece::IN_PLACE),
        count(&piece::MOVED),
    );
    println!(
        "  profiles refused as they should be {}, failed {failed}; allocations in the handler {in_handler}",
        count(&REFUSED),
    );
    for verdict in verdicts {
        println!(
            "  {:<12} keeps {:>5.1} MB, profile {:>5.1} MB: off by {:>4.1} % of {:>4.1} % (3/√{:.0}){}",
            verdict.tenant,
            verdict.truth / 1e6,
            verdict.estimate / 1e6,
            verdict.error() * 100.0,
            verdict.allowed() * 100.0,
            verdict.samples,
            if verdict.holds() { "" } else { " VIOLATED" },
        );
    }
    let right = verdicts.iter().all(Verdict::holds) && failed == 0 && in_handler == 0 && switched > 0;
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
