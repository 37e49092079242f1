//! One rung in this process: profiles one after another, through all storms at once.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stagelight_profiler::{__testing as testing, cpu};

use crate::allocator::IN_HANDLER;
use crate::storms::{STARTED, STORMS};
use crate::watchdog::{self, Pulse};

/// The exit code where the rung can't be had.
pub(crate) const REFUSED: u8 = 3;

static PROFILES: Pulse = Pulse::new("profiles");

/// What the profiles came to.
#[derive(Default)]
struct Sums {
    samples: u64,
    held: u64,
    complete: u64,
    dropped: Vec<(&'static str, u64)>,
    weight_ns: u64,
    cpu_ns: u64,
}

/// Soaks the rung that the environment names and prints a report.
pub(crate) fn run(time: Duration) -> ExitCode {
    if let Err(error) = cpu().hz(4999).start() {
        print!("{error}");
        return ExitCode::from(REFUSED);
    }
    abort_on_panics();
    let stop = AtomicBool::new(false);
    let mut sums = Sums::default();
    std::thread::scope(|scope| {
        let pulses: Vec<&Pulse> =
            STORMS.iter().map(|storm| &storm.pulse).chain(std::iter::once(&PROFILES)).collect();
        scope.spawn({
            let stop = &stop;
            move || watchdog::watch(&pulses, stop)
        });
        for storm in &STORMS {
            scope.spawn(|| storm.rage(&stop));
        }
        profile(time, &mut sums);
        stop.store(true, Ordering::Relaxed);
    });
    report(&sums, time)
}

/// The panics of the storm are not for the terminal; others are, and end the process.
pub(crate) fn abort_on_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&"of the storm") {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}

/// Long profiles and short ones in turns, some of them dropped.
fn profile(time: Duration, sums: &mut Sums) {
    let start = Instant::now();
    for number in 0_u64.. {
        if start.elapsed() >= time {
            break;
        }
        let length = [1000, 20, 300, 10][number as usize % 4];
        // Every third with the kernel's functions, on the rung that can.
        let builder = cpu().hz(4999);
        let builder = if number % 3 == 2 { builder.kernel_frames() } else { builder };
        let session = match builder.start() {
            Ok(session) => session,
            // For want of descriptors or signals at this moment; the report shows how many profiles there were.
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        std::thread::sleep(Duration::from_millis(length));
        if number % 8 == 7 {
            drop(session);
        } else if let Ok(profile) = session.stop() {
            sums.add(&profile);
        }
        PROFILES.beat();
    }
}

impl Sums {
    fn add(&mut self, profile: &stagelight_profiler::Profile) {
        let stats = profile.stats();
        self.samples += stats.samples;
        self.held += testing::held(profile);
        self.complete += stats.complete_stacks;
        // The process's time is that of our own threads too, which a profile leaves out.
        self.weight_ns += profile.total() as u64 + stats.own_threads.as_nanos() as u64;
        self.cpu_ns += stats.cpu_time.as_nanos() as u64;
        for &(cause, count) in &stats.dropped {
            match self.dropped.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, sum)) => *sum += count,
                None => self.dropped.push((cause, count)),
            }
        }
    }
}

fn report(sums: &Sums, time: Duration) -> ExitCode {
    let [taken, kept, ring_full, late] = testing::signals();
    let in_handler = IN_HANDLER.load(Ordering::Relaxed);
    println!("signals {taken} = kept {kept} + ring full {ring_full} + late {late}");
    let incomplete = 100.0 * (1.0 - sums.complete as f64 / sums.samples.max(1) as f64);
    println!(
        "  {} profiles, {} samples, of which they hold {}; incomplete stacks {incomplete:.2} %; weights {:.3} of the CPU time",
        PROFILES.rounds(),
        sums.samples,
        sums.held,
        sums.weight_ns as f64 / sums.cpu_ns.max(1) as f64,
    );
    let dropped: Vec<String> = sums.dropped.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
    println!("  dropped: {}; allocations in the handler {in_handler}", dropped.join(", "));
    let storms: Vec<String> =
        STORMS.iter().map(|storm| format!("{} {}", storm.pulse.name, storm.pulse.rounds())).collect();
    let a_second = STARTED.load(Ordering::Relaxed) / time.as_secs().max(1);
    println!("  rounds: {}; threads started: {a_second} a second", storms.join(", "));
    let right = taken == kept + ring_full + late && sums.held == sums.samples && in_handler == 0;
    if right && sums.samples > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
