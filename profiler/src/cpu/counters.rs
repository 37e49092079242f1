//! Counters of the processor and the kernel, by stage and by statement.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::{What, session};
use crate::error::Error;
use crate::profile::{self, Context, LABELS, Raw, RawProfile};
use crate::settings::{self, Settings};

/// A look at the counters of the whole process: cycles, instructions, cache and branch misses where the hardware offers
/// them, and page faults, major faults, context switches, migrations and CPU time everywhere, by stage and by statement.
///
/// ```no_run
/// # use std::time::Duration;
/// let counters = stagelight_profiler::counters().duration(Duration::from_secs(10)).run()?;
/// print!("{counters}");
/// for stage in &counters.by_stage {
///     println!("{}: {:?} instructions per cycle", stage.name, counters.ipc(stage));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To read counters at the bounds of stages would cost each stage a system call. So they are sampled instead: once in so many
/// counts a thread is interrupted and says what it is in. A counter's [`total`](Counter::total) is exact, the figures of stages and
/// statements are estimates that say how many samples they rest on; of `n` samples the relative standard error is about
/// 1/√n. Fewer counts on a thread than lie between two samples may leave no trace but in the total.
///
/// # Cost
/// Some 5 µs a sample: 7 % for code that does nothing but fault, and less than one for most. Nothing at all while none runs. A descriptor for each thread and counter.
///
/// # What it needs
/// Linux 6.1 and perf events. Where the process may not see the kernel, or [`exec`](crate#exec)
/// can't be guarded, counters see user code alone, and context switches and migrations are absent.
pub fn counters() -> CountersBuilder {
    CountersBuilder { settings: Settings::default() }
}

/// What a look at the counters shall be like.
#[derive(Clone, Debug)]
#[must_use = "call `run` or `start`"]
pub struct CountersBuilder {
    settings: Settings,
}

impl CountersBuilder {
    settings::methods!("a look at the counters" => CountersSession => Counters);

    /// Counts until the session is stopped.
    ///
    /// # Errors
    /// [`Error::Busy`] while another profile runs, be it of the CPU, off the CPU, by the wall clock or of counters, and
    /// [`Error::Refused`] if no counter at all can be had.
    pub fn start(self) -> Result<CountersSession, Error> {
        self.begin(None)
    }

    fn begin(self, duration: Option<Duration>) -> Result<CountersSession, Error> {
        session::Session::start(What::Counters, duration, self.settings.owner).map(CountersSession)
    }
}

/// A look at the counters that goes on. Dropping it ends it without a result.
#[must_use = "dropping it ends the look without a result"]
#[derive(Debug)]
pub struct CountersSession(session::Session);

impl CountersSession {
    /// Ends counting and gives the figures.
    ///
    /// # Errors
    /// If what was counted could not be gathered.
    pub fn stop(self) -> Result<Counters, Error> {
        let (RawProfile { raw, stats }, readings) = self.0.gather()?;
        let by = |label: &str| rows(&raw, label, readings.len());
        let (by_stage, by_statement) = (by("stage"), by("statement"));
        Ok(Counters {
            counters: readings,
            by_stage,
            by_statement,
            duration: stats.duration,
            dropped: stats.dropped,
        })
    }
}

/// What the counters came to.
#[derive(Clone, Debug)]
pub struct Counters {
    /// The counters, those that are absent here too.
    pub counters: Vec<Counter>,
    /// Estimates by stage, those with most samples first; `""` stands for code outside all stages.
    pub by_stage: Vec<CountersRow>,
    /// Estimates by statement, likewise.
    pub by_statement: Vec<CountersRow>,
    /// How long it took.
    pub duration: Duration,
    /// What is missing, by cause, as in [`ProfileStats`](crate::ProfileStats::dropped).
    pub dropped: Vec<(&'static str, u64)>,
}

/// One counter of the whole process.
#[derive(Clone, Debug)]
pub struct Counter {
    /// `cycles`, `instructions`, `cache_misses`, `branch_misses`, `page_faults`, `major_faults`, `context_switches`,
    /// `migrations` or `task_clock_ns`.
    pub name: &'static str,
    /// Why it can't be had here, if it can't.
    pub absent: Option<String>,
    /// What it counted: exactly, unless `running` is below 1.
    pub total: u64,
    /// Whether it saw user code alone.
    pub user_only: bool,
    /// The share of the time in which it counted. Below 1 where the hardware has fewer counters than were asked for: they
    /// took turns, and the total is what they would have come to all the time.
    pub running: f64,
}

/// Estimates for one stage or statement.
#[derive(Clone, Debug)]
pub struct CountersRow {
    /// The stage's or the statement's name; empty for what is in none.
    pub name: String,
    /// The estimates, in the order of [`Counters::counters`].
    pub estimates: Vec<CounterEstimate>,
}

/// An estimate of a counter's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterEstimate {
    /// What the counter came to in the stage or statement.
    pub value: u64,
    /// Samples that this rests on.
    pub samples: u64,
}

impl Counters {
    /// The counter of that name, if it can be had here.
    #[must_use]
    pub fn counter(&self, name: &str) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.name == name && counter.absent.is_none())
    }

    /// A row's estimate of the counter of that name, if it can be had here.
    #[must_use]
    pub fn estimate(&self, row: &CountersRow, name: &str) -> Option<CounterEstimate> {
        let index =
            self.counters.iter().position(|counter| counter.name == name && counter.absent.is_none())?;
        row.estimates.get(index).copied()
    }

    /// A row's instructions per cycle, where the hardware counts both and both were sampled.
    #[must_use]
    pub fn ipc(&self, row: &CountersRow) -> Option<f64> {
        let [instructions, cycles] = ["instructions", "cycles"]
            .map(|name| self.estimate(row, name).filter(|estimate| estimate.value > 0));
        Some(instructions?.value as f64 / cycles?.value as f64)
    }
}

/// A table of the counters that there are, by stage and by statement, and a line for each that is absent.
impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = || self.counters.iter().enumerate().filter(|(_, counter)| counter.absent.is_none());
        for (title, rows) in [("stage", &self.by_stage), ("statement", &self.by_statement)] {
            write!(f, "{title:<32}")?;
            there().try_for_each(|(_, counter)| write!(f, " {:>18}", counter.name))?;
            writeln!(f, " {:>6}", "ipc")?;
            for row in rows {
                let name = if row.name.is_empty() { "(none)" } else { &row.name };
                write!(f, "{:<32}", stagelight::export::table::shorten(name, 32))?;
                there().try_for_each(|(index, _)| write!(f, " {:>18}", row.estimates[index].value))?;
                match self.ipc(row) {
                    Some(ipc) => writeln!(f, " {ipc:>6.2}")?,
                    None => writeln!(f, " {:>6}", "-")?,
                }
            }
            write!(f, "{:<32}", "(all, exactly)")?;
            there().try_for_each(|(_, counter)| write!(f, " {:>18}", counter.total))?;
            writeln!(f, "\n")?;
        }
        let absent =
            self.counters.iter().filter_map(|counter| Some((counter.name, counter.absent.as_ref()?)));
        absent.into_iter().try_for_each(|(name, why)| writeln!(f, "{name}: {why}"))
    }
}

/// Sums by the values of a label. A sample's state is the number of its counter.
fn rows(raw: &[Raw], label: &str, counters: usize) -> Vec<CountersRow> {
    let index = LABELS.iter().position(|known| *known == label).unwrap_or(0);
    let mut rows: HashMap<String, Vec<CounterEstimate>> = HashMap::new();
    for Raw { context, values: [samples, value], .. } in raw {
        let counter = usize::from(context.state);
        let name = profile::resolve(&Context { state: 0, ..*context })[index].clone();
        let row = rows.entry(name).or_insert_with(|| vec![CounterEstimate::default(); counters]);
        if let Some(estimate) = row.get_mut(counter) {
            estimate.value += *value as u64;
            estimate.samples += *samples as u64;
        }
    }
    let mut rows: Vec<_> =
        rows.into_iter().map(|(name, estimates)| CountersRow { name, estimates }).collect();
    let samples = |row: &CountersRow| row.estimates.iter().map(|estimate| estimate.samples).sum::<u64>();
    rows.sort_by(|a, b| samples(b).cmp(&samples(a)).then_with(|| a.name.cmp(&b.name)));
    rows
}
