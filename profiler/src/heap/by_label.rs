//! Live memory by label, for the metrics.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::live;
use crate::error::Error;
use crate::profile::{Context, LABELS, resolve};

/// The labels that a metric tells of. Of stages there are profiles.
const TOLD: [&str; 5] = ["component", "statement", "tenant", "user", "database"];

/// What was found at the last look.
#[derive(Clone)]
pub(crate) struct ByLabel {
    at: Instant,
    /// Samples that the figures rest on.
    pub(crate) samples: u64,
    /// Label, and bytes by its value, most first.
    pub(crate) bytes: Vec<(&'static str, Vec<(String, i64)>)>,
}

impl ByLabel {
    pub(crate) fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

struct Asked {
    every: Duration,
    last: Option<ByLabel>,
    /// Somebody takes a look.
    looking: bool,
}

static ASKED: Mutex<Option<Asked>> = Mutex::new(None);

/// From now on the metrics, those at `/metrics` and those of [`write_metrics`](crate::write_metrics), tell how much **live memory**
/// each component, statement, tenant, user and database holds, in bytes: `stagelight_tenant_live_bytes{tenant="acme"}` and so on; `""` stands
/// for what was allocated in no query, or in no stage. With them come `stagelight_heap_samples`, which the figures rest on, and
/// `stagelight_heap_age_seconds`, how old they are.
///
/// ```no_run
/// # use std::time::Duration;
/// stagelight_profiler::heap_metrics(Duration::from_secs(60))?;
/// # Ok::<(), stagelight_profiler::Error>(())
/// ```
///
/// # Cost
/// No thread runs for it: who asks for the metrics takes a look at the heap if the last one is
/// older than `every`. A look costs some 3 ms for each 1,000 different stacks, once in that time;
/// allocation in other threads goes on. Who asks while a profile reads the heap gets the figures of
/// the last look and their age, and none if there was no look before.
///
/// # Errors
/// [`Error::Unsupported`] if the allocator does not sample, with the reason; [`Error::Invalid`] if `every` is less than a second.
pub fn heap_metrics(every: Duration) -> Result<(), Error> {
    if every < Duration::from_secs(1) {
        return Err(Error::Invalid(format!(
            "live memory as metrics every {} s: it must be a second or more",
            every.as_secs_f64()
        )));
    }
    let (sampled, how) = live::status();
    if !sampled {
        return Err(Error::Unsupported(format!("no metrics of live memory: {how}")));
    }
    *lock() = Some(Asked { every, last: None, looking: false });
    Ok(())
}

/// The figures, if they were asked for and can be had. Those of the last look, older than asked
/// for, while somebody else reads the heap: who asks for metrics waits neither for a profile nor
/// for others that ask.
pub(crate) fn by_label() -> Option<ByLabel> {
    let mut asked = lock();
    let current = asked.as_mut()?;
    let is_old = current.last.as_ref().is_none_or(|last| last.age() >= current.every);
    if !is_old || current.looking {
        return current.last.clone();
    }
    current.looking = true;
    drop(asked);
    let looking = Looking;
    let looked = look();
    drop(looking);
    let mut asked = lock();
    let current = asked.as_mut()?;
    if let Some(looked) = looked {
        // Where a look fails, the figures go, and with them what would be taken for the present.
        current.last = looked.ok();
    }
    current.last.clone()
}

fn lock() -> MutexGuard<'static, Option<Asked>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// That somebody takes a look, until this is dropped.
struct Looking;

impl Drop for Looking {
    fn drop(&mut self) {
        if let Some(asked) = &mut *lock() {
            asked.looking = false;
        }
    }
}

/// Takes a look, unless somebody else reads the heap.
fn look() -> Option<Result<ByLabel, Error>> {
    Some(live::take_at_once()?.map(figures))
}

fn figures(live: live::Live) -> ByLabel {
    let (samples, by_context) = live.by_context();
    let mut sums: [HashMap<String, i64>; TOLD.len()] = Default::default();
    for (context, bytes) in by_context {
        let labels = resolve(&Context::of(context));
        for (sums, told) in sums.iter_mut().zip(TOLD) {
            let index = LABELS.iter().position(|label| *label == told).expect("it is one of them");
            *sums.entry(labels[index].clone()).or_default() += bytes;
        }
    }
    // A label that no query gave says nothing.
    let told = TOLD.into_iter().zip(sums).filter(|(_, sums)| sums.keys().any(|value| !value.is_empty()));
    let bytes = told.map(|(label, sums)| {
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        (label, sums)
    });
    ByLabel { at: Instant::now(), samples, bytes: bytes.collect() }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn who_asks_while_the_heap_is_read_gets_the_last_figures_at_once() {
        let last = ByLabel { at: Instant::now() - Duration::from_secs(9), samples: 7, bytes: Vec::new() };
        *lock() = Some(Asked { every: Duration::from_secs(1), last: Some(last), looking: false });
        // By this thread itself, which would wait for ever.
        let reading = live::reading();
        for _ in 0..2 {
            let told = by_label().unwrap();
            assert!(told.samples == 7 && told.age() >= Duration::from_secs(9));
        }
        drop(reading);
        // Nothing samples here, so a look fails, and what is old is told no more.
        assert!(by_label().is_none());
        assert!(!lock().as_ref().unwrap().looking);
        *lock() = None;
    }
}
