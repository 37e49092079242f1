//! The process's metrics by name, and where the words of each series stand: the slow path, taken at first touches.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::descriptor::{Shape, Unit};
use super::exposed;
use super::slab::{FIRST_METRIC, LINE_WORDS, NOWHERE, WORDS};
use super::slabs;

/// What the labels of sets past a cap are called.
const OTHER: &str = "other";

/// A series' labels: names and values.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

/// What a handle says of its metric.
#[derive(Clone, Copy)]
pub(crate) struct Spec<'a> {
    pub(crate) name: &'a str,
    pub(crate) help: &'a str,
    pub(crate) component: &'a str,
    pub(crate) unit: Unit,
    pub(crate) shape: Shape,
}

struct Metric {
    help: &'static str,
    unit: Unit,
    shape: Shape,
    /// By component and labels.
    series: BTreeMap<(&'static str, Labels<'static>), Series>,
    /// Series with labels, but for the ones that stand for all others.
    labelled: usize,
}

/// Why a handle is refused.
enum Clash {
    /// The metric is of that kind and unit.
    Kind(Shape, Unit),
    /// The metric would be exposed under a name that is another one's.
    Name { name: String, owner: &'static str },
}

/// Refused metrics of which it is remembered that it was said.
const MAX_TOLD: usize = 1024;

#[derive(Clone, Copy)]
struct Series {
    word: u32,
    /// Whether it stands for the label sets past a cap.
    overflow: bool,
}

struct Registry {
    /// All names and labels are leaked: metrics live for ever, and their number has a bound.
    metrics: BTreeMap<&'static str, Metric>,
    /// Which metric has a name in what is exposed.
    exposed: BTreeMap<String, &'static str>,
    /// Metrics of which it was said that a handle was refused.
    told: BTreeSet<String>,
    next_word: usize,
    refused_kind: u64,
    refused_room: u64,
    refused_name: u64,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    metrics: BTreeMap::new(),
    exposed: BTreeMap::new(),
    told: BTreeSet::new(),
    next_word: FIRST_METRIC as usize,
    refused_kind: 0,
    refused_room: 0,
    refused_name: 0,
});

fn lock() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock, for as long as what it gives lives.
pub(crate) fn hold() -> Box<dyn Any> {
    Box::new(lock())
}

/// Where the words of a series start: [`NOWHERE`] (counted) if there is no room, or if the name stands for another kind
/// or unit or is exposed by another metric, which is also said on standard error.
pub(crate) fn place(spec: &Spec<'_>, labels: Labels<'_>) -> u32 {
    place_capped(spec, labels, usize::MAX).unwrap_or(NOWHERE)
}

/// The same for a metric of at most `cap` sets of labels. `None` past it.
pub(crate) fn place_capped(spec: &Spec<'_>, labels: Labels<'_>, cap: usize) -> Option<u32> {
    slabs::heed_fork();
    // Without the lock, which whoever reads standard error may want.
    let placed = lock().place(spec, labels, Some(cap));
    placed.unwrap_or_else(|clash| refused_for(spec, clash))
}

/// The same for the series that stands for all sets past the cap. It needs no labels' values and does not count as one.
pub(crate) fn place_other<'a>(spec: &Spec<'_>, names: impl Iterator<Item = &'a str>) -> u32 {
    let labels: Vec<_> = names.map(|name| (name, OTHER)).collect();
    let placed = lock().place(spec, &labels, None);
    placed.unwrap_or_else(|clash| refused_for(spec, clash)).unwrap_or(NOWHERE)
}

/// A handle that is refused counts nowhere.
fn refused_for(spec: &Spec<'_>, clash: Option<Clash>) -> Option<u32> {
    let Spec { name, shape, unit, .. } = spec;
    let why = match clash {
        None => return Some(NOWHERE),
        Some(Clash::Kind(known, known_unit)) => format!("{name} is a {known:?} in {known_unit:?} already"),
        Some(Clash::Name { name, owner }) => {
            format!("it would be exposed as {name}, which is {owner}'s; give one of them another name")
        }
    };
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(
        std::io::stderr(),
        "stagelight: a handle that makes {name} a {shape:?} in {unit:?} counts nothing: {why}"
    );
    Some(NOWHERE)
}

impl Metric {
    fn new(spec: &Spec<'_>) -> Self {
        Self {
            help: leak(spec.help),
            unit: spec.unit,
            shape: spec.shape,
            series: BTreeMap::new(),
            labelled: 0,
        }
    }
}

impl Registry {
    /// `None` if the cap on label sets is reached; an error says why the handle is refused, if that was not said yet.
    /// Without a cap the series is the one for sets past it.
    fn place(
        &mut self,
        spec: &Spec<'_>,
        labels: Labels<'_>,
        cap: Option<usize>,
    ) -> Result<Option<u32>, Option<Clash>> {
        // In whatever order a handle names them.
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        let labels = &*labels;
        if let Some(clash) = self.clash(spec) {
            self.refused_kind += 1;
            let untold = !self.told.contains(spec.name) && self.told.len() < MAX_TOLD;
            return Err(untold.then(|| {
                self.told.insert(spec.name.to_owned());
                clash
            }));
        }
        if let Some(metric) = self.metrics.get_mut(spec.name) {
            if let Some(series) = find(metric, spec.component, labels) {
                return Ok(Some(series.word));
            }
            if !labels.is_empty() && cap.is_some_and(|cap| metric.labelled >= cap) {
                return Ok(None);
            }
        }
        let words = spec.shape.words();
        // Gauges have cache lines of their own.
        let word = if words == LINE_WORDS { self.next_word.next_multiple_of(words) } else { self.next_word };
        if word + words > WORDS {
            self.refused_room += 1;
            return Ok(Some(NOWHERE));
        }
        self.next_word = word + words;
        if !self.metrics.contains_key(spec.name) {
            let name = leak(spec.name);
            self.metrics.insert(name, Metric::new(spec));
            self.exposed.extend(exposed::names(name, spec.shape.kind()).into_iter().map(|own| (own, name)));
        }
        if let Some(metric) = self.metrics.get_mut(spec.name) {
            let overflow = cap.is_none();
            metric.labelled += usize::from(!labels.is_empty() && !overflow);
            let labels: Vec<_> = labels.iter().map(|(name, value)| (leak(name), leak(value))).collect();
            let key = (leak(spec.component), &*labels.leak());
            metric.series.insert(key, Series { word: word as u32, overflow });
        }
        Ok(Some(word as u32))
    }

    /// What keeps a handle from its metric.
    fn clash(&self, spec: &Spec<'_>) -> Option<Clash> {
        if let Some(metric) = self.metrics.get(spec.name) {
            let known = (metric.shape, metric.unit);
            return (known != (spec.shape, spec.unit)).then_some(Clash::Kind(known.0, known.1));
        }
        exposed::names(spec.name, spec.shape.kind()).into_iter().find_map(|name| {
            let owner = self.exposed.get(&name).copied().or_else(|| exposed::own(&name))?;
            Some(Clash::Name { name, owner })
        })
    }
}

fn find<'a>(metric: &'a Metric, component: &'a str, labels: Labels<'a>) -> Option<Series> {
    // A map by what lives for ever is also one by what lives shorter.
    let series: &BTreeMap<(&'a str, Labels<'a>), Series> = &metric.series;
    series.get(&(component, labels)).copied()
}

fn leak(text: &str) -> &'static str {
    if text.is_empty() { "" } else { Box::leak(text.into()) }
}

/// Counts metrics that were left out of what is exposed, since others have their names.
#[cfg(feature = "prometheus")]
pub(crate) fn refuse_exposed(metrics: u64) {
    lock().refused_kind += metrics;
}

/// Counts a name from elsewhere that had to be changed.
#[cfg(feature = "metrics")]
pub(crate) fn refuse_name() {
    lock().refused_name += 1;
}

/// Gives a metric its help, unless it has one. Whether there is such a metric.
#[cfg(feature = "metrics")]
pub(crate) fn describe(name: &str, help: &str) -> bool {
    match lock().metrics.get_mut(name) {
        Some(metric) if metric.help.is_empty() => metric.help = leak(help),
        Some(_) => {}
        None => return false,
    }
    true
}

/// A metric as it is registered.
pub(crate) struct ListedMetric {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) unit: Unit,
    pub(crate) shape: Shape,
    pub(crate) series: Vec<Listed>,
}

/// A series as it is registered.
pub(crate) struct Listed {
    pub(crate) component: &'static str,
    pub(crate) labels: Labels<'static>,
    pub(crate) word: u32,
    pub(crate) overflow: bool,
}

/// All metrics, by name.
pub(crate) fn listing() -> Vec<ListedMetric> {
    let registry = lock();
    let metrics =
        registry.metrics.iter().map(|(name, metric)| {
            let series = metric.series.iter().map(|(&(component, labels), &Series { word, overflow })| {
                Listed { component, labels, word, overflow }
            });
            ListedMetric {
                name,
                help: metric.help,
                unit: metric.unit,
                shape: metric.shape,
                series: series.collect(),
            }
        });
    metrics.collect()
}

/// What was refused so far, by cause.
pub(crate) fn refused() -> Vec<(&'static str, u64)> {
    let mut refused = slabs::refused();
    let registry = lock();
    refused.extend([
        ("metric_kind", registry.refused_kind),
        ("metric_room", registry.refused_room),
        ("metric_name", registry.refused_name),
    ]);
    refused
}

/// Bytes that metrics take at most: the words given away in each slab, and the chunks in use.
pub(crate) fn bytes() -> usize {
    let words = lock().next_word;
    slabs::all().iter().map(|slab| slab.used_bytes(words)).sum()
}
