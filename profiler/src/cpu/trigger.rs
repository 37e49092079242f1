//! What makes a profile of the past worth keeping, told from a collector's windows.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use stagelight::export::Exporter;
use stagelight::{StageStats, Window, matches_stage};

use super::past;

/// A rule that looks at each window and says why the profile of the past is to be kept, if it is.
pub struct Trigger {
    name: String,
    rule: Box<Rule>,
}

type Rule = dyn FnMut(&Window) -> Option<String> + Send;

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trigger").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Windows of a stage that tell what is usual.
const USUAL: usize = 30;

/// Windows without which nothing is usual.
const FEWEST: usize = 5;

/// Calls of a window without which its p99 is chance.
const CALLS: u64 = 100;

impl Trigger {
    /// When a query is kept for being slow: over its threshold, or slower than nearly all of its statement. Needs a collector
    /// that takes [traces](stagelight::CollectorBuilder::traces).
    #[must_use]
    pub fn slow_query() -> Self {
        Self::when("slow query", |window| {
            let slow = window.traces.iter().filter(|trace| trace.kept.slow);
            let slowest = slow.max_by_key(|trace| trace.spans.first().map(|span| span.duration))?;
            let took = slowest.spans.first().map_or(0.0, |span| span.duration.as_secs_f64());
            Some(format!("a query took {:.3} ms: {}", took * 1e3, slowest.labels[0]))
        })
    }

    /// When the 99th percentile of a stage's window is so many times the median of its last 30. `stages` is a pattern of names,
    /// as in [`set_mode`](stagelight::set_mode). Windows of fewer than 100 calls are not looked at.
    #[must_use]
    pub fn p99_jump(stages: &str, factor: f64) -> Self {
        let stages = stages.to_owned();
        let mut usual: HashMap<(&str, &str), VecDeque<u64>> = HashMap::new();
        Self::when("p99 jump", move |window| {
            let mut reason = None;
            let matching = |stage: &&StageStats| {
                stage.calls >= CALLS && matches_stage(&stages, stage.component, stage.name)
            };
            for stage in window.stages.iter().filter(matching) {
                let p99 = stage.histogram.quantile(0.99);
                let before = usual.entry((stage.component, stage.name)).or_default();
                let mut sorted: Vec<u64> = before.iter().copied().collect();
                sorted.sort_unstable();
                let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
                if sorted.len() >= FEWEST && p99 as f64 > factor * median as f64 {
                    let (now, then) = (p99 as f64 / 1e6, median as f64 / 1e6);
                    reason = Some(format!("the p99 of {} went from {then:.3} ms to {now:.3} ms", stage.name));
                }
                before.push_back(p99);
                if before.len() > USUAL {
                    before.pop_front();
                }
            }
            reason
        })
    }

    /// When a rule of your own says why.
    #[must_use]
    pub fn when(
        name: impl Into<String>,
        rule: impl FnMut(&Window) -> Option<String> + Send + 'static,
    ) -> Self {
        Self { name: name.into(), rule: Box::new(rule) }
    }
}

/// Keeps the profile of the past when a trigger fires. An exporter for a collector, made by
/// [`Continuous::keeper`](super::Continuous::keeper).
#[derive(Debug)]
#[must_use = "give it to a collector"]
pub struct Keeper {
    triggers: Vec<Trigger>,
    past: Duration,
    pause: Duration,
    last: Option<Instant>,
}

impl Keeper {
    pub(super) fn new() -> Self {
        let minute = Duration::from_secs(60);
        Self { triggers: Vec::new(), past: minute, pause: minute, last: None }
    }

    /// Also on this.
    pub fn on(mut self, trigger: Trigger) -> Self {
        self.triggers.push(trigger);
        self
    }

    /// How much of the past is kept; a minute unless told otherwise.
    pub fn past(mut self, past: Duration) -> Self {
        self.past = past;
        self
    }

    /// Keeps no more than one profile in that time; in a minute unless told otherwise.
    pub fn at_most_every(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}

impl Exporter for Keeper {
    fn export(&mut self, window: &Window) -> io::Result<()> {
        // All of them look at each window, to know what is usual.
        let reasons: Vec<String> = self
            .triggers
            .iter_mut()
            .filter_map(|trigger| Some(format!("{}: {}", trigger.name, (trigger.rule)(window)?)))
            .collect();
        if reasons.is_empty() || self.last.is_some_and(|last| last.elapsed() < self.pause) {
            return Ok(());
        }
        let profile = past::raw(self.past).map_err(io::Error::other)?;
        self.last = Some(Instant::now());
        past::keep(reasons.join("; "), profile);
        Ok(())
    }
}
