//! The user's metrics in the Prometheus format.

use super::exposition::{Family, Labels, Number, Value};
use super::table::QUANTILES;
use crate::metric::{MetricFamily, MetricKind, MetricSeries, MetricValue, Quantities, Unit};

/// The component comes first of the labels. Nanoseconds become seconds.
pub(super) fn family(metric: &MetricFamily) -> Family {
    let series = metric.series.iter().map(|series| {
        let value = match &series.value {
            MetricValue::Count(count) => Value::Number(whole(metric.unit, *count)),
            MetricValue::Level(level) => Value::Number(float(metric.unit, *level)),
            MetricValue::Quantities(values) if metric.kind == MetricKind::Summary => {
                summary(metric.unit, values)
            }
            MetricValue::Quantities(values) => histogram(metric.unit, values),
        };
        (labels(series), value)
    });
    Family::new(metric.name, metric.help, metric.kind, series)
}

fn labels(series: &MetricSeries) -> Labels {
    let mut labels = Labels::default();
    if !series.component.is_empty() {
        labels = labels.and("component", series.component);
    }
    series.labels.iter().fold(labels, |labels, (name, value)| labels.and(name, value))
}

fn whole(unit: Unit, number: u64) -> Number {
    if unit == Unit::Nanoseconds { Number::Nanoseconds(number) } else { Number::Whole(number) }
}

fn float(unit: Unit, number: f64) -> Number {
    Number::Float(if unit == Unit::Nanoseconds { number / 1e9 } else { number })
}

fn sum(unit: Unit, values: &Quantities) -> Number {
    values.whole_sum().map_or_else(|| float(unit, values.sum()), |sum| whole(unit, sum))
}

fn histogram(unit: Unit, values: &Quantities) -> Value {
    let buckets = values.buckets().into_iter().map(|(upper, count)| (float(unit, upper), count));
    Value::Histogram { buckets: buckets.collect(), sum: sum(unit, values), count: values.count() }
}

fn summary(unit: Unit, values: &Quantities) -> Value {
    let quantiles = QUANTILES.into_iter().map(|(_, q)| (q, float(unit, values.quantile(q))));
    Value::Summary { quantiles: quantiles.collect(), sum: sum(unit, values), count: values.count() }
}

#[cfg(all(test, feature = "enabled"))]
mod tests {
    use crate::{Counter, CounterFamily, Distribution, Gauge, Summary, Unit};

    #[test]
    fn all_kinds_are_written_with_their_component() {
        static HITS: CounterFamily =
            CounterFamily::new("export_hits_total", "Hits.", &["shard"]).component("cache");
        static LEVEL: Gauge = Gauge::new("export_level", "A level.");
        static ROWS: Distribution = Distribution::new("export_rows", "Rows.").component("storage");
        static TIME: Summary = Summary::new("export_seconds", "Time.").unit(Unit::Nanoseconds);
        HITS.with(&["a\"b"]).add(3);
        LEVEL.set(1.5);
        ROWS.record(3);
        ROWS.record(4);
        TIME.record(1 << 31);
        let mut text = Vec::new();
        crate::export::prometheus::write(&crate::snapshot(), Vec::new(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "# HELP export_hits_total Hits.",
            "# TYPE export_hits_total counter",
            r#"export_hits_total{component="cache",shard="a\"b"} 3"#,
            "export_level 1.5",
            r#"export_rows_bucket{component="storage",le="3"} 1"#,
            r#"export_rows_bucket{component="storage",le="15"} 2"#,
            r#"export_rows_bucket{component="storage",le="+Inf"} 2"#,
            r#"export_rows_sum{component="storage"} 7"#,
            "# TYPE export_seconds summary",
            r#"export_seconds{quantile="0.999"} 2.147483648"#,
            "export_seconds_count 1",
            r#"stagelight_refused_total{cause="metric_kind"}"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn counts_beyond_what_a_float_holds_are_written_exactly() {
        static ROWS: Counter = Counter::new("export_large_total", "");
        static TIME: Counter = Counter::new("export_large_seconds_total", "").unit(Unit::Nanoseconds);
        static SIZES: Distribution = Distribution::new("export_large_sizes", "");
        ROWS.add((1 << 53) + 1);
        TIME.add((1 << 53) + 1);
        SIZES.record((1 << 53) + 1);
        let mut text = Vec::new();
        crate::export::prometheus::write(&crate::snapshot(), Vec::new(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "export_large_total 9007199254740993\n",
            "export_large_seconds_total 9007199.254740993\n",
            "export_large_sizes_sum 9007199254740993\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
