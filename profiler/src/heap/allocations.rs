//! Allocation profiles: who allocates how much in a time, whether it is freed or not.

use std::time::Duration;

use super::window::Window;
use crate::error::Error;
use crate::profile::Profile;
use crate::settings::{self, Settings};

/// An allocation profile of the whole process: objects and bytes that were allocated within a time, **freed or not**, by the
/// stack and the query that allocated them. What a `realloc` gives counts as a whole, as it does in a stage's allocated
/// bytes. Needs [`heap_profiler!`](crate::heap_profiler) or a [`Sampler`](crate::Sampler).
///
/// ```no_run
/// # use std::time::Duration;
/// let profile = stagelight_profiler::allocs().duration(Duration::from_secs(10)).run()?;
/// for (statement, bytes) in profile.label_totals("statement") {
///     println!("{statement:40} {} MiB", bytes >> 20);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`heap`](fn@crate::heap) shows who *holds* memory, this who *churns* it: what allocation costs is paid here.
///
/// # Cost
/// The allocator samples in any case; a window only counts what it samples, up to about a microsecond each. While it runs there is a
/// thread, `stagelight-heap`, which wakes a hundred times a second, and a ring of 4.2 MiB. While none runs there is neither, nor
/// a hook. What is kept of stacks has a cap of 8 MiB.
///
/// # What it is not
/// It has a start: jemalloc could sum up from the process's start on (`prof_accum`), but then it never gives back what it
/// keeps of a stack, and a long-lived process's sums say little about now.
///
/// In pprof files there are four sample types: `alloc_objects` and `alloc_space`, the default, of what was allocated within the
/// time; and `inuse_objects` and `inuse_space` of all that is live at its end, whenever it was allocated. All else that the
/// profile says, such as [`Profile::total`], is about what was allocated.
pub fn allocs() -> AllocsBuilder {
    AllocsBuilder { settings: Settings::default() }
}

/// What an allocation profile shall be like.
#[derive(Clone, Debug)]
#[must_use = "call `run` or `start`"]
pub struct AllocsBuilder {
    settings: Settings,
}

impl AllocsBuilder {
    settings::methods!("an allocation profile" => AllocsSession => Profile);
    settings::lines_method!();

    /// Counts until the session is stopped.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the allocator does not sample or is not to at present, with the reason; [`Error::Busy`] while another allocation
    /// profile runs, with whose it is; [`Error::Io`] if no thread can be started. Other kinds of profile may run meanwhile.
    pub fn start(self) -> Result<AllocsSession, Error> {
        self.begin(None)
    }

    fn begin(self, duration: Option<Duration>) -> Result<AllocsSession, Error> {
        Ok(AllocsSession { window: Window::open(self.settings.owner, duration)?, lines: self.settings.lines })
    }
}

/// An allocation profile that is being taken. Dropping it ends it without a result.
#[must_use = "dropping it ends the profile without a result"]
pub struct AllocsSession {
    window: Window,
    lines: bool,
}

impl std::fmt::Debug for AllocsSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AllocsSession").finish_non_exhaustive()
    }
}

impl AllocsSession {
    /// Ends counting and gives the profile, symbolized.
    ///
    /// # Errors
    /// [`Error::Io`] if what was counted could not be gathered.
    pub fn stop(self) -> Result<Profile, Error> {
        self.window.finish(self.lines)
    }
}
