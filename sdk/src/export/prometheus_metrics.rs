//! The user's metrics in the Prometheus format.

use prometheus::proto::{Bucket, Gauge, Histogram, LabelPair, Metric, MetricType, Quantile, Summary};

use super::prometheus::{counter_metric, pair};
use super::table::QUANTILES;
use crate::metrics::{MetricFamily, MetricKind, MetricSeries, MetricValue, Quantities, Unit};

/// The component comes first of the labels. Nanoseconds become seconds.
pub(super) fn family(metric: &MetricFamily) -> prometheus::proto::MetricFamily {
    let kind = match metric.kind {
        MetricKind::Counter => MetricType::COUNTER,
        MetricKind::Gauge => MetricType::GAUGE,
        MetricKind::Histogram => MetricType::HISTOGRAM,
        MetricKind::Summary => MetricType::SUMMARY,
    };
    let scale = if metric.unit == Unit::Nanoseconds { 1e9 } else { 1.0 };
    let series = metric.series.iter().map(|series| match &series.value {
        MetricValue::Count(count) => counter_metric(labels(series), *count as f64 / scale),
        MetricValue::Level(level) => gauge(series, *level / scale),
        MetricValue::Quantities(values) if metric.kind == MetricKind::Summary => {
            summary(series, values, scale)
        }
        MetricValue::Quantities(values) => histogram(series, values, scale),
    });
    super::prometheus::family(metric.name, metric.help, kind, series)
}

fn labels(series: &MetricSeries) -> Vec<LabelPair> {
    let component = (!series.component.is_empty()).then(|| pair("component", series.component));
    component.into_iter().chain(series.labels.iter().map(|(name, value)| pair(name, value))).collect()
}

fn gauge(series: &MetricSeries, level: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(level);
    let mut metric = Metric::from_label(labels(series));
    metric.set_gauge(gauge);
    metric
}

fn histogram(series: &MetricSeries, values: &Quantities, scale: f64) -> Metric {
    let bucket = |(upper, count): (f64, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(upper / scale);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_sample_count(values.count());
    histogram.set_sample_sum(values.sum() / scale);
    histogram.set_bucket(values.buckets().into_iter().map(bucket).collect());
    let mut metric = Metric::from_label(labels(series));
    metric.set_histogram(histogram);
    metric
}

fn summary(series: &MetricSeries, values: &Quantities, scale: f64) -> Metric {
    let quantile = |(_, q)| {
        let mut quantile = Quantile::default();
        quantile.set_quantile(q);
        quantile.set_value(values.quantile(q) / scale);
        quantile
    };
    let mut summary = Summary::default();
    summary.set_sample_count(values.count());
    summary.set_sample_sum(values.sum() / scale);
    summary.set_quantile(QUANTILES.into_iter().map(quantile).collect());
    let mut metric = Metric::from_label(labels(series));
    metric.set_summary(summary);
    metric
}

#[cfg(all(test, feature = "enabled"))]
mod tests {
    use crate::{CounterFamily, Distribution, Gauge, Summary, Unit};

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
}
