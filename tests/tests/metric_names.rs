//! Whatever metrics are called, the page that shows them can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use stagelight::{
    Counter, CounterFamily, Distribution, DistributionFamily, Gauge, Summary, SummaryFamily, UpDownCounter,
};

/// Names like those that formats make of others.
const BASES: [&str; 5] = ["rows", "pages", "a:b", "process_cpu_seconds", "stagelight"];
const SUFFIXES: [&str; 9] =
    ["", "_count", "_sum", "_bucket", "_total", "_created", "_info", "_seconds", "_seconds_total"];

/// A generator that gives the same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn name(&mut self) -> String {
        loop {
            let mut name = BASES[self.below(BASES.len())].to_owned();
            for _ in 0..self.below(3) {
                name.push_str(SUFFIXES[self.below(SUFFIXES.len())]);
            }
            // Others are refused by the compiler.
            if !name.starts_with("stagelight_") {
                return name;
            }
        }
    }
}

fn touch(kind: usize, name: String) {
    const HELP: &str = "Of a test.";
    const LABELS: &[&str] = &["label"];
    let kept: &'static str = name.leak();
    match kind {
        0 => Box::leak(Box::new(Counter::new(kept, HELP))).inc(),
        1 => Box::leak(Box::new(UpDownCounter::new(kept, HELP))).dec(),
        2 => Box::leak(Box::new(Gauge::new(kept, HELP))).set(f64::NEG_INFINITY),
        3 => Box::leak(Box::new(Distribution::new(kept, HELP))).record(7),
        4 => Box::leak(Box::new(Summary::new(kept, HELP))).record(7),
        5 => Box::leak(Box::new(CounterFamily::new(kept, HELP, LABELS))).with(&["x"]).inc(),
        6 => Box::leak(Box::new(DistributionFamily::new(kept, HELP, LABELS))).with(&["x"]).record(7),
        7 => Box::leak(Box::new(SummaryFamily::new(kept, HELP, LABELS))).with(&["x"]).record(7),
        8 => metrics::counter!(kept).increment(1),
        9 => metrics::gauge!(kept, "label" => "x").set(0.5),
        _ => metrics::histogram!(kept).record(0.5),
    }
}

fn page() -> String {
    let mut text = Vec::new();
    stagelight_profiler::write_metrics(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn refused() -> u64 {
    let snapshot = stagelight::snapshot();
    snapshot.recorder.refused.iter().find(|(cause, _)| *cause == "metric_kind").unwrap().1
}

/// What OpenMetrics calls the family, and which names its series may have in either format.
fn names(name: &str, kind: &str) -> (String, Vec<String>) {
    let with = |base: &str, suffixes: &[&str]| suffixes.iter().map(|s| format!("{base}{s}")).collect();
    match kind {
        "counter" => {
            let base = name.strip_suffix("_total").unwrap_or(name);
            (base.to_owned(), [with(base, &["_total", "_created"]), vec![name.to_owned()]].concat())
        }
        "histogram" => (name.to_owned(), with(name, &["_bucket", "_sum", "_count", "_created"])),
        "summary" => (name.to_owned(), with(name, &["", "_sum", "_count", "_created"])),
        _ => (name.to_owned(), vec![name.to_owned()]),
    }
}

/// Each family and series stands once, in its place, and no name means two things.
fn check(page: &str) {
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut own: Vec<String> = Vec::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            let (family, of_series) = names(name, kind);
            assert!(families.insert(family.clone()), "{family} is two families:\n{page}");
            for of_series in &of_series {
                let owner = owners.insert(of_series.clone(), name.to_owned());
                assert!(
                    owner.as_ref().is_none_or(|owner| owner == name),
                    "{of_series} is {name}'s and {owner:?}'s"
                );
            }
            own = of_series;
        } else if !line.starts_with('#') {
            let (one, _) = line.rsplit_once(' ').unwrap();
            assert!(series.insert(one.to_owned()), "{one} stands twice");
            let name = one.split('{').next().unwrap();
            assert!(own.iter().any(|own| own == name), "{name} stands in the wrong place:\n{page}");
        }
    }
}

#[test]
fn whatever_metrics_are_called_the_page_can_be_read() {
    stagelight::bridge::metrics::install().unwrap();
    let promtool = stagelight_tests::tool(&["promtool"]);
    if promtool.is_none() {
        stagelight_tests::skip("promtool check metrics on random names", "promtool is not installed");
    }
    let mut random = Random(10);
    for round in 1..=400 {
        touch(random.below(11), random.name());
        if round % 20 != 0 {
            continue;
        }
        let page = page();
        check(&page);
        let Some(promtool) = &promtool else { continue };
        let file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut &file, page.as_bytes()).unwrap();
        std::io::Seek::rewind(&mut &file).unwrap();
        let output = Command::new(promtool).args(["check", "metrics"]).stdin(file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // It exits with 3 where it would have a name otherwise, which is a matter of taste, and
        // with 1 where it can't read on.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}: {said}\n{page}", output.status);
    }
    assert!(refused() > 50, "{}", refused());
    assert!(page().contains("\n# TYPE rows"), "some of all those names are had");
}

#[test]
fn the_later_of_two_that_share_a_name_is_refused_and_counted() {
    static SIZES: Distribution = Distribution::new("clash_sizes", "Of a test.");
    static COUNT: Counter = Counter::new("clash_sizes_count", "Of a test.");
    static TOTAL: Counter = Counter::new("clash_pages_total", "Of a test.");
    static PAGES: Gauge = Gauge::new("clash_pages", "Of a test.");
    static PROCESS: Gauge = Gauge::new("process_resident_memory_bytes", "Of a test.");
    SIZES.record(3);
    TOTAL.inc();
    let before = refused();
    for _ in 0..3 {
        COUNT.inc();
        PAGES.set(7.0);
        PROCESS.set(7.0);
    }
    // The other test counts refusals of its own meanwhile.
    assert!(refused() >= before + 3);
    let page = page();
    assert!(page.contains("# TYPE clash_sizes histogram") && page.contains("clash_sizes_count 1\n"));
    assert!(page.contains("clash_pages_total 1\n") && !page.contains("\nclash_pages "));
    assert!(!page.contains("process_resident_memory_bytes 7\n"));
}
