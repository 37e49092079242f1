//! What holds across the handles.

use super::*;

fn metric(name: &str) -> MetricFamily {
    collect().into_iter().find(|metric| metric.name == name).expect("it was touched")
}

fn count(series: &MetricSeries) -> u64 {
    match series.value {
        MetricValue::Count(count) => count,
        _ => panic!("a counter"),
    }
}

fn total(name: &str) -> u64 {
    metric(name).series.iter().map(count).sum()
}

fn refused(cause: &str) -> u64 {
    registry::refused().into_iter().find(|(name, _)| *name == cause).unwrap().1
}

#[test]
fn threads_that_came_and_went_lose_nothing() {
    static CALLS: Counter = Counter::new("test_calls_total", "");
    static OPEN: UpDownCounter = UpDownCounter::new("test_open", "");
    static SIZES: Distribution = Distribution::new("test_sizes", "");
    const VALUES: u64 = crate::testing::repetitions(1_000);
    for _ in 0..10 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    OPEN.add(3);
                    for value in 0..VALUES {
                        CALLS.inc();
                        SIZES.record(value);
                    }
                });
            }
        });
        OPEN.add(-10);
    }
    assert_eq!(total("test_calls_total"), 40 * VALUES);
    assert_eq!(metric("test_open").series[0].value, MetricValue::Level(20.0));
    let MetricValue::Quantities(sizes) = &metric("test_sizes").series[0].value else { panic!() };
    assert_eq!(
        (sizes.count(), sizes.sum(), sizes.max()),
        (40 * VALUES, (40 * VALUES * (VALUES - 1) / 2) as f64, (VALUES - 1) as f64)
    );
}

#[test]
fn a_thread_counts_while_its_locals_are_destroyed() {
    static LAST: Counter = Counter::new("test_last_words_total", "");
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            LAST.inc();
        }
    }
    thread_local!(static LATE: Late = const { Late });
    for _ in 0..3 {
        // The one that is touched first is destroyed last.
        std::thread::spawn(|| (LATE.with(|_| ()), LAST.inc())).join().unwrap();
        std::thread::spawn(|| (LAST.inc(), LATE.with(|_| ()))).join().unwrap();
    }
    assert_eq!(total("test_last_words_total"), 12);
}

#[test]
fn gauges_take_the_last_value_and_add_up() {
    static RATIO: Gauge = Gauge::new("test_ratio", "");
    RATIO.set(0.5);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| RATIO.add(0.25)));
        }
    });
    assert_eq!(metric("test_ratio").series[0].value, MetricValue::Level(1000.5));
}

#[test]
fn one_name_is_one_metric_and_another_kind_is_refused() {
    static ONE: Counter = Counter::new("test_same_total", "First.").component("storage");
    static TWO: Counter = Counter::new("test_same_total", "Second.").component("storage");
    static ELSEWHERE: Counter = Counter::new("test_same_total", "").component("cache");
    static WRONG: Gauge = Gauge::new("test_same_total", "");
    static WRONG_UNIT: Counter = Counter::new("test_same_total", "").unit(Unit::Bytes);
    let before = refused("metric_kind");
    ONE.inc();
    TWO.add(2);
    ELSEWHERE.add(5);
    WRONG.set(7.0);
    WRONG.set(8.0);
    WRONG_UNIT.inc();
    let same = metric("test_same_total");
    let series: Vec<_> = same.series.iter().map(|series| (series.component, count(series))).collect();
    assert_eq!(
        (same.help, same.kind, series),
        ("First.", MetricKind::Counter, vec![("cache", 5), ("storage", 3)])
    );
    assert_eq!(refused("metric_kind"), before + 2);
}

#[test]
fn past_the_cap_totals_stay_exact() {
    static SETS: CounterFamily = CounterFamily::new("test_sets_total", "", &["tenant", "kind"]).cap(20);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..1_000 {
                    SETS.with(&[&(round % 100).to_string(), "k"]).inc();
                }
            });
        }
    });
    let sets = metric("test_sets_total");
    assert_eq!((total("test_sets_total"), sets.series.len()), (4_000, 21));
    let other = sets.series.iter().find(|series| series.labels.contains(&("tenant", "other"))).unwrap();
    assert_eq!(count(other), 80 * 40);
    assert!(refused("metric_label_cap") >= 80 * 40);
}

#[test]
fn odd_label_values_are_kept_apart_cut_or_refused() {
    static ODD: CounterFamily = CounterFamily::new("test_odd_total", "", &["a", "b"]);
    let long = "ö".repeat(1 << 16);
    for values in
        [["", ""], ["", "\n\"\\"], ["ab", "c"], ["a", "bc"], ["\0", "ö"], [&long, "x"], [&long, "y"]]
    {
        ODD.with(&values).inc();
        assert!(std::ptr::eq(ODD.with(&values), ODD.with(&values)));
    }
    let before = refused("metric_label_count");
    ODD.with(&["one"]).inc();
    ODD.with(&["one", "two", "three"]).inc();
    assert_eq!(refused("metric_label_count"), before + 2);
    let odd = metric("test_odd_total");
    assert_eq!((total("test_odd_total"), odd.series.len()), (9, 8));
    assert!(odd.series.iter().flat_map(|series| series.labels).all(|(_, value)| value.len() <= 256));
}

#[test]
fn a_family_without_refusals_shows_no_other() {
    static FEW: SummaryFamily = SummaryFamily::new("test_few_seconds", "", &["op"]).unit(Unit::Nanoseconds);
    FEW.with(&["read"]).record_duration(std::time::Duration::from_micros(5));
    let few = metric("test_few_seconds");
    assert_eq!((few.series.len(), few.kind), (1, MetricKind::Summary));
    let MetricValue::Quantities(times) = &few.series[0].value else { panic!() };
    assert_eq!((times.max(), times.quantile(0.5)), (5_000.0, 5_000.0));
}
