//! Queries since a reset, in a process of its own.

use std::time::{Duration, SystemTime};

use stagelight::export::{json, prometheus, table};
use stagelight::{Column, LabelKind, Mode, query, reset_queries, rows, set_mode, snapshot};

#[query(name = "queries.query", key = statement, tenant = "acme")]
fn run(statement: &str, produced: u64, took: Duration) -> Result<(), ()> {
    rows(produced);
    std::thread::sleep(took);
    if statement == "failing" { Err(()) } else { Ok(()) }
}

fn many(statement: &'static str, calls: u64) {
    std::thread::spawn(move || {
        for _ in 0..calls {
            let _ = run(statement, 3, Duration::ZERO);
        }
    })
    .join()
    .unwrap();
}

/// The exporter's count of a statement.
fn exported(statement: &str) -> f64 {
    let mut text = Vec::new();
    prometheus::write(&snapshot(), Vec::new(), &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let series = format!("stagelight_statement_queries_total{{statement=\"{statement}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0.0, |value| value.parse().unwrap())
}

#[test]
fn people_begin_anew_at_a_reset_and_exporters_do_not() {
    set_mode("*", Mode::Time);
    many("before", 50);
    many("both", 40);
    run("slow", 1, Duration::from_millis(50)).unwrap();
    let never = snapshot().queries();
    assert_eq!(never.since, None);
    assert_eq!(never.top(LabelKind::Statement, Column::CALLS, 1)[0].value, "before");
    assert!(
        table::queries(&never, LabelKind::Tenant, Column::CALLS, 9).contains("since the process started")
    );

    let start = SystemTime::now();
    let since = reset_queries();
    assert!(since >= start);
    assert!(snapshot().queries().by_label(LabelKind::Statement).is_empty());
    many("both", 7);
    many("failing", 2);
    run("both", 1, Duration::from_millis(2)).unwrap();

    let snapshot = snapshot();
    let queries = snapshot.queries();
    assert_eq!(queries.since, Some(since));
    let statements = queries.by_label(LabelKind::Statement);
    assert_eq!(statements.iter().map(|s| s.value.as_str()).collect::<Vec<_>>(), ["both", "failing"]);
    assert_eq!((statements[0].calls, statements[0].rows), (8, 22));
    assert_eq!((statements[1].calls, statements[1].errors), (2, 2));
    // The longest since the reset, not that of all time.
    let tenant = &queries.by_label(LabelKind::Tenant)[0];
    let ever = &snapshot.tenants[0];
    assert!(tenant.max_ns >= 2_000_000 && ever.max_ns >= 50_000_000.max(tenant.max_ns));
    assert_eq!((tenant.calls, ever.calls), (10, 101));
    // Exporters see all.
    assert_eq!((exported("before"), exported("both")), (50.0, 48.0));

    let value = json::queries(&queries, LabelKind::Statement, Column::ERRORS, 1);
    assert_eq!(
        (&value["kind"], &value["by"], &value["of"]),
        (&"statement".into(), &"errors".into(), &2.into())
    );
    let nanos = since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    assert_eq!(value["since_ns"], nanos);
    assert_eq!(value["queries"].as_array().unwrap().len(), 1);
    assert_eq!(value["queries"][0]["name"], "failing");
    let text = table::queries(&queries, LabelKind::Statement, Column::ROWS, 20);
    assert!(text.starts_with("by rows, 2 of 2, since a reset "), "{text}");
    assert!(text.lines().nth(2).unwrap().starts_with("both "), "{text}");
    check_that_every_column_is_a_figure_of_the_json_and_orders();
}

/// Of whatever was recorded so far.
fn check_that_every_column_is_a_figure_of_the_json_and_orders() {
    many("columns a", 3);
    many("columns b", 5);
    let queries = snapshot().queries();
    for &column in Column::ALL {
        assert_eq!(Column::from_name(column.name()), Some(column));
        let value = json::queries(&queries, LabelKind::Statement, column, 20);
        let figures: Vec<u64> = value["queries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|query| query[column.name()].as_u64().unwrap_or_else(|| panic!("{}", column.name())))
            .collect();
        assert!(figures.is_sorted_by(|a, b| a >= b), "{}: {figures:?}", column.name());
    }
    assert_eq!(Column::from_name("colour"), None);
}
