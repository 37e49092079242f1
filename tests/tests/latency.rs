//! Times of queries mean one thing in one row, and others can read how they spread, in a process of
//! its own.

use std::collections::BTreeMap;
use std::time::Duration;

use stagelight::export::table;
use stagelight::{Column, LabelKind, LabelStats, query, snapshot};

#[query(name = "latency.transaction", key = "transaction", tenant = "nested")]
fn transaction() {
    for _ in 0..4 {
        statement();
    }
}

#[query(name = "latency.statement", key = "statement", tenant = "nested")]
fn statement() {
    std::thread::sleep(Duration::from_millis(2));
}

#[query(name = "latency.of", key = "of a tenant", tenant = tenant)]
fn of_tenant(tenant: &str) {}

fn page() -> String {
    let mut text = Vec::new();
    stagelight_profiler::write_metrics(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The values of a series by one label.
fn by<'a>(page: &'a str, series: &str, label: &str) -> BTreeMap<&'a str, f64> {
    let start = format!("{series}{{{label}=\"");
    let of = |line: &'a str| {
        let (value, number) = line.strip_prefix(start.as_str())?.split_once("\"} ")?;
        Some((value, number.parse().unwrap()))
    };
    page.lines().filter_map(of).collect()
}

fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is missing in\n{page}")).parse().unwrap()
}

#[test]
fn one_row_means_one_thing_and_histograms_are_capped() {
    for _ in 0..10 {
        transaction();
    }
    let all = snapshot();
    let find = |value: &str| -> &LabelStats { all.statements.iter().find(|s| s.value == value).unwrap() };
    let outer = find("transaction");
    // Mean, median and maximum are of the same durations.
    let (mean, median) = (outer.mean_ns() as f64, outer.histogram.quantile(0.5) as f64);
    assert!(mean >= 8e6 && median >= 8e6 * 15.0 / 16.0, "{mean} {median}");
    assert!(mean <= outer.max_ns as f64 && outer.total_ns >= 10 * outer.histogram.quantile(0.0) * 15 / 16);
    // Sums without what is nested are exact.
    let inner = find("statement");
    assert_eq!(outer.total_ns, outer.self_ns + inner.total_ns);
    assert_eq!((inner.total_ns, inner.calls), (inner.self_ns, 40));
    let tenant = all.tenants.iter().find(|tenant| tenant.value == "nested").unwrap();
    assert_eq!((tenant.self_ns, tenant.total_ns), (outer.total_ns, outer.total_ns + inner.total_ns));
    let text = table::queries(&all.queries(), LabelKind::Statement, Column::SELF_NS, 9);
    let mut lines = text.lines().skip(1);
    assert!(lines.next().unwrap().contains("without what belongs to queries nested in them"), "{text}");
    let headings: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(headings[..7], ["statement", "calls", "err", "self", "total", "mean", "p50"]);
    assert!(lines.next().unwrap().starts_with("statement "), "most of its own time first:\n{text}");
    assert!(text.lines().all(|line| line.chars().count() <= table::WIDTH), "{text}");

    // What others read says the same.
    let page = page();
    let of = |series: &str| by(&page, &format!("stagelight_statement_{series}"), "statement")["transaction"];
    assert_eq!(of("query_duration_seconds_count"), 10.0);
    assert!((of("query_duration_seconds_sum") / (outer.total_ns as f64 / 1e9) - 1.0).abs() < 1e-9);
    assert!((of("query_seconds_total") / (outer.self_ns as f64 / 1e9) - 1.0).abs() < 1e-9);
    let bucket = "stagelight_statement_query_duration_seconds_bucket{statement=\"transaction\",le=";
    let counts: Vec<f64> =
        page.lines().filter_map(|line| line.strip_prefix(bucket)?.split_once("} ")?.1.parse().ok()).collect();
    assert!(counts.len() > 10 && counts.is_sorted() && counts[0] == 0.0 && counts.last() == Some(&10.0));

    check_that_many_tenants_share_a_histogram();
    check_that_the_process_is_told();
}

fn check_that_many_tenants_share_a_histogram() {
    const TENANTS: usize = 150;
    for tenant in 0..TENANTS {
        (0..=tenant).for_each(|_| of_tenant(&format!("tenant {tenant}")));
    }
    let figures = |page: &str| -> (BTreeMap<String, f64>, f64) {
        let counts = by(page, "stagelight_tenant_query_duration_seconds_count", "tenant");
        let counts = counts.into_iter().map(|(tenant, count)| (tenant.to_owned(), count)).collect();
        (counts, value(page, "stagelight_refused_total{cause=\"histogram_cap\"}"))
    };
    let (before, beyond) = figures(&page());
    // `nested` had one already.
    assert_eq!((before.len(), beyond), (101, (TENANTS - 99) as f64));
    let calls = (TENANTS * (TENANTS + 1) / 2 + 50) as f64;
    assert_eq!(before.values().sum::<f64>(), calls, "none is lost");
    // Each goes on where it was, so none falls.
    for tenant in 0..TENANTS {
        of_tenant(&format!("tenant {tenant}"));
    }
    let (after, beyond_after) = figures(&page());
    assert_eq!((after.values().sum::<f64>(), beyond_after), (calls + TENANTS as f64, beyond));
    assert!(before.iter().all(|(tenant, count)| after[tenant] >= count + 1.0 || tenant == "nested"));
    assert_eq!(by(&page(), "stagelight_tenant_queries_total", "tenant").len(), TENANTS + 1);
}

fn check_that_the_process_is_told() {
    let before = value(&page(), "process_cpu_seconds_total");
    stagelight_tests::burn(50_000_000);
    let page = page();
    assert!(value(&page, "process_cpu_seconds_total") >= before + 0.05);
    if !cfg!(target_os = "linux") {
        return;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value(&page, "process_start_time_seconds");
    assert!((-2.0..600.0).contains(&age), "{age}");
    let kept = std::hint::black_box(vec![1_u8; 64 << 20]);
    let resident = value(&self::page(), "process_resident_memory_bytes");
    drop(kept);
    assert!(resident - value(&page, "process_resident_memory_bytes") > 30e6, "{resident}");
}
