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
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, thread};

use clap::Parser as _;

use crate::args::Args;
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

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(&args.out)?;
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
    let (counted, profiles) = thread::scope(|scope| {
        let load = scope.spawn(|| workload::run(&service, args.threads, duration));
        // One CPU profile runs at a time: where others may ask for one, ours leaves most of the time to them.
        let early = server.is_some().then(|| {
            thread::sleep(duration.mul_f64(0.5).min(OWN_PROFILE));
            profiles::stop_cpu(cpu.take())
        });
        // A heap profile shows what is alive now, so it is taken while the load still runs.
        thread::sleep(duration.mul_f64(0.9).saturating_sub(start.elapsed()));
        let heap = profiles::take_heap();
        let counted = load.join().expect("a worker panicked");
        (counted, Profiles { cpu: early.unwrap_or_else(|| profiles::stop_cpu(cpu)), heap })
    });
    progress.stop();
    let counted = counted?;

    // Every worker has ended, so the figures are final and exact.
    let usage = Usage::of(stagelight::snapshot(), &profiles);
    let mut written = profiles.write(&args.out)?;
    written.push(report_json::write(&args.out, &usage, &profiles, &counted)?);
    print!("{}", report::text(&usage, &profiles, &written));
    Ok(())
}
