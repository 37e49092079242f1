//! The command line.

use std::path::PathBuf;

/// An order service on SQLite that profiles itself while it works.
#[derive(clap::Parser)]
pub struct Args {
    /// How long to run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,

    /// Worker threads
    #[arg(long, default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub threads: usize,

    /// Serve the control API there, for example on 127.0.0.1:6060; the report's CPU profile is of the first seconds then
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// The folder of the database, the profiles and the report
    #[arg(long, value_name = "DIR", default_value = "target/stagelight/orders")]
    pub out: PathBuf,
}
