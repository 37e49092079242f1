//! An order service that profiles itself while it works: the program to run first.
//!
//! ```text
//! cargo run --release --example orders
//! ```
//!
//! Eight tenants send orders, payments and questions to one SQLite database. The service is annotated as you
//! would annotate your own database: `#[query]` on the entry of a transaction and of a statement, `#[stage]`
//! on the steps within. Start reading at `service.rs` and `session.rs`: those hold most annotations, and
//! `profiles.rs` holds the calls that take the profiles.
//!
//! One tenant has a problem. `umbrella` sends one request in twenty and yet burns nearly a third of the CPU time;
//! the report at the end says in which statement, and `cpu-by-tenant.svg` shows where in the code.

mod admission;
mod args;
mod files;
mod pricing;
mod profiles;
mod progress;
mod random;
mod reply;
mod report;
mod report_json;
mod request;
mod schema;
mod service;
mod session;
mod statement;
mod tenants;
mod transactions;
mod truth;
mod usage;
mod workload;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, thread};

use clap::Parser as _;

use crate::args::Args;
use crate::files::Files;
use crate::profiles::Profiles;
use crate::service::Service;
use crate::usage::Usage;

// The heap profiler counts as the program's allocator, so it is declared once, in the binary.
stagelight_profiler::heap_profiler!();

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orders: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long the program profiles itself at most while it serves the control API.
const OWN_PROFILE: Duration = Duration::from_secs(3);

/// How often it looks whether the load has ended early.
const LOOK: Duration = Duration::from_millis(100);

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let no_folder = |error| format!("{}: {error}", args.out.display());
    fs::create_dir_all(&args.out).map_err(no_folder)?;
    let service = Service::new(schema::create(&args.out)?);

    // The control API, if asked for. It stops when this is dropped.
    let server = args.listen.as_deref().map(stagelight_profiler::serve).transpose()?;
    if let Some(server) = &server {
        eprintln!("listening on http://{}", server.local_addr());
    }

    let duration = Duration::from_secs(args.seconds);
    let progress = progress::start(duration)?;
    let start = Instant::now();
    let mut cpu = profiles::start_cpu();
    let ((counted, worked), profiles) = thread::scope(|scope| {
        let load = scope.spawn(|| workload::run(&service, args.threads, duration));
        let wait_until = |moment: Duration| {
            while start.elapsed() < moment && !load.is_finished() {
                thread::sleep(moment.saturating_sub(start.elapsed()).min(LOOK));
            }
        };
        // One CPU profile runs at a time: where others may ask for one, ours leaves most of the time to them.
        let early = server.is_some().then(|| {
            wait_until(duration.mul_f64(0.5).min(OWN_PROFILE));
            profiles::stop_cpu(cpu.take())
        });
        // A heap profile shows what is alive now, so it is taken while the load still runs.
        wait_until(duration.mul_f64(0.9));
        let heap = profiles::take_heap();
        let counted = load.join().expect("a worker panicked");
        (counted, Profiles { cpu: early.unwrap_or_else(|| profiles::stop_cpu(cpu)), heap })
    });
    progress.stop();

    // Every worker has ended, so the figures are final and exact. What fails from here on costs
    // nothing else.
    let usage = Usage::of(stagelight::snapshot(), &profiles);
    let mut files = Files::new(&args.out);
    files.write("metrics.prom", |out| stagelight_profiler::write_metrics(out));
    files.write("report.json", |out| report_json::write(out, &usage, &profiles, &counted));
    profiles.write(&mut files);
    let printed = io::stdout().write_all(report::text(&usage, &profiles, &files).as_bytes());

    for (path, error) in &files.failed {
        eprintln!("orders: {} is not written: {error}", path.display());
    }
    worked.map_err(|error| format!("the load ended early: {error}"))?;
    printed.map_err(|error| format!("the report is not printed: {error}"))?;
    match files.failed.len() {
        0 => Ok(()),
        failed => Err(format!("{failed} of {} files are not written", failed + files.written.len()).into()),
    }
}
