//! Wire formats and the terminal: what others read. Only this module knows them.

use std::io;

use crate::collect::collector::CollectorBuilder;
use crate::collect::window::Window;

#[cfg(feature = "json")]
pub mod chrome;
#[cfg(feature = "prometheus")]
mod exposition;
#[cfg(feature = "prometheus")]
mod families;
#[cfg(feature = "json")]
pub mod json;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg(feature = "prometheus")]
mod prometheus_metrics;
#[cfg(feature = "prometheus")]
mod prometheus_process;
#[cfg(feature = "prometheus")]
mod prometheus_queries;
mod readable;
pub mod table;

pub use readable::readable;

/// Takes each window somewhere else.
///
/// An exporter runs on the collector's thread, so it may wait for a network, yet what it waits for delays
/// the next window. A failed export is reported once on standard error and tried again with the next window:
/// snapshots are cumulative, so nothing is lost.
pub trait Exporter: Send {
    /// Takes one window.
    ///
    /// # Errors
    /// Whatever keeps the window from arriving.
    fn export(&mut self, window: &Window) -> io::Result<()>;
}

impl CollectorBuilder {
    /// Adds an exporter.
    pub fn exporter(self, mut exporter: impl Exporter + 'static) -> Self {
        let mut failing = false;
        self.on_window(move |window| match exporter.export(window) {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                eprintln!("stagelight: an exporter failed and will be tried again: {error}");
            }
            Err(_) => {}
        })
    }
}
