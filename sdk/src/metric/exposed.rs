//! Which names a metric takes in the formats that metrics are exposed in.
//!
//! A reader knows families by their names and series by theirs, and a page on which one name stands for two things can't be
//! read at all. So the registry gives each of these names once. They are those of Prometheus' text format and of
//! OpenMetrics together: whoever reads the metrics may write either.
//! See <https://prometheus.io/docs/specs/om/open_metrics_spec/>, "Suffixes".

use super::kind::MetricKind;
use super::name::is_reserved;

/// What the process itself has used, under the names that Prometheus' client libraries give it.
pub(crate) const PROCESS_CPU: &str = "process_cpu_seconds_total";
pub(crate) const PROCESS_START: &str = "process_start_time_seconds";
pub(crate) const PROCESS_MEMORY: &str = "process_resident_memory_bytes";

/// Our own metrics whose names do not start with `stagelight_`.
const OWN: [(&str, MetricKind); 3] = [
    (PROCESS_CPU, MetricKind::Counter),
    (PROCESS_START, MetricKind::Gauge),
    (PROCESS_MEMORY, MetricKind::Gauge),
];

/// The names of the family and of its series, in either format, some of them twice.
pub(crate) fn names(name: &str, kind: MetricKind) -> Vec<String> {
    let with = |base: &str, suffixes: &[&str]| -> Vec<String> {
        suffixes.iter().map(|suffix| format!("{base}{suffix}")).collect()
    };
    let mut names = match kind {
        // OpenMetrics takes the suffix from the family and puts it on the series.
        MetricKind::Counter => with(name.strip_suffix("_total").unwrap_or(name), &["", "_total", "_created"]),
        MetricKind::Histogram => with(name, &["_bucket", "_sum", "_count", "_created"]),
        MetricKind::Summary => with(name, &["_sum", "_count", "_created"]),
        // By its name it is an info, which OpenMetrics writes like a counter.
        MetricKind::Gauge => name.strip_suffix("_info").map(str::to_owned).into_iter().collect(),
    };
    names.push(name.to_owned());
    names
}

/// Whose a name is if it is one of ours.
pub(super) fn own(name: &str) -> Option<&'static str> {
    if is_reserved(name) {
        return Some("Stagelight");
    }
    let exposes = |&&(metric, kind): &&(&str, MetricKind)| names(metric, kind).iter().any(|own| own == name);
    OWN.iter().find(exposes).map(|(metric, _)| *metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_takes_the_names_of_its_series() {
        let takes = |metric, kind, name: &str| names(metric, kind).iter().any(|taken| taken == name);
        for name in ["rows", "rows_total", "rows_created"] {
            assert!(takes("rows_total", MetricKind::Counter, name), "{name}");
            assert!(takes("rows", MetricKind::Counter, name), "{name}");
        }
        for name in ["rows", "rows_bucket", "rows_sum", "rows_count", "rows_created"] {
            assert!(takes("rows", MetricKind::Histogram, name), "{name}");
            assert_eq!(takes("rows", MetricKind::Summary, name), name != "rows_bucket");
        }
        assert_eq!(names("rows", MetricKind::Gauge), ["rows"]);
        assert!(takes("build_info", MetricKind::Gauge, "build"));
    }

    #[test]
    fn our_own_names_are_known() {
        assert_eq!(own("process_cpu_seconds_created"), Some(PROCESS_CPU));
        assert_eq!(own("stagelight_total"), Some("Stagelight"));
        assert_eq!((own("process_cpu_second"), own("stagelight")), (None, None));
    }
}
