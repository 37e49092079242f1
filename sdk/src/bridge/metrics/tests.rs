use super::*;
use crate::metric::{MetricFamily, MetricKind, MetricValue, collect};
use ::metrics::{counter, describe_counter, gauge, histogram, with_local_recorder};

fn metric(name: &str) -> MetricFamily {
    collect().into_iter().find(|metric| metric.name == name).expect("it was touched")
}

#[test]
fn the_facade_lands_in_our_registry() {
    let recorder = Recorder::default();
    with_local_recorder(&recorder, || {
        describe_counter!("bridge_calls_total", "Calls.");
        for _ in 0..3 {
            counter!("bridge_calls_total", "kind" => "a").increment(2);
        }
        counter!("bridge_absolute_total").absolute(10);
        counter!("bridge_absolute_total").absolute(7);
        gauge!("bridge_level").set(2.5);
        gauge!("bridge_level").decrement(1.0);
        for value in [0.001, 0.002, 0.5, 3e9, f64::NAN] {
            histogram!("bridge_seconds").record(value);
        }
    });
    let calls = metric("bridge_calls_total");
    assert_eq!((calls.help, calls.series.len()), ("Calls.", 1));
    assert_eq!((calls.series[0].component, calls.series[0].labels), ("stagelight", &[("kind", "a")][..]));
    assert_eq!(calls.series[0].value, MetricValue::Count(6));
    assert_eq!(metric("bridge_absolute_total").series[0].value, MetricValue::Count(10));
    assert_eq!(metric("bridge_level").series[0].value, MetricValue::Level(1.5));
    let seconds = metric("bridge_seconds");
    let MetricValue::Quantities(values) = &seconds.series[0].value else { panic!("a histogram") };
    assert_eq!((seconds.kind, values.count()), (MetricKind::Histogram, 4));
    assert!((values.sum() - 3_000_000_000.503).abs() < 1e-3 && values.max() == 3e9);
    assert!((values.quantile(0.5) / 0.002 - 1.0).abs() < 1.0 / 64.0);
    assert_eq!(values.buckets().iter().find(|(upper, _)| *upper == 1.0), Some(&(1.0, 3)));
}

#[test]
fn odd_names_and_too_many_labels_are_counted() {
    let recorder = Recorder::default();
    with_local_recorder(&recorder, || {
        counter!("bridge.odd-name", "le" => "x", "le" => "y").increment(1);
        for set in 0..CAP + 10 {
            counter!("bridge_many_total", "set" => set.to_string()).increment(1);
        }
    });
    assert_eq!(metric("bridge_odd_name").series[0].labels, [("le_", "x")]);
    let many = metric("bridge_many_total");
    assert_eq!(many.series.len(), CAP + 1);
    let other = many.series.iter().find(|series| series.labels == [("set", "other")]).unwrap();
    assert_eq!(other.value, MetricValue::Count(10));
}
