//! More labels than there is room for, in a process of its own: what is full stays full.

use std::sync::atomic::{AtomicU64, Ordering};

use stagelight::{query, snapshot};

#[query(name = "labels.query", key = statement, tenant = tenant)]
fn labelled(statement: &str, tenant: &str) -> Result<(), std::io::Error> {
    Ok(())
}

/// Totals by statement and by tenant of the queries whose statement starts so.
fn by_statement(prefix: &str) -> u64 {
    snapshot().statements.iter().filter(|s| s.value.starts_with(prefix)).map(|s| s.calls).sum()
}

#[test]
fn a_hundred_thousand_tenants_stay_flat_and_exact() {
    const TENANTS: u64 = 100_000;
    let before: u64 = snapshot().tenants.iter().map(|tenant| tenant.calls).sum();
    let bytes = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for half in 0..2 {
            let bytes = &bytes;
            scope.spawn(move || {
                for tenant in (half..TENANTS).step_by(2) {
                    labelled(
                        ["many.a", "many.b", "many.c"][tenant as usize % 3],
                        &format!("tenant {tenant}"),
                    )
                    .unwrap();
                    if tenant / 2 == TENANTS / 8 {
                        bytes.fetch_max(snapshot().recorder.bytes as u64, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let snapshot = snapshot();
    let tenants: u64 = snapshot.tenants.iter().map(|tenant| tenant.calls).sum();
    assert_eq!(tenants - before, TENANTS);
    assert_eq!(by_statement("many."), TENANTS);
    let other = snapshot.tenants.iter().find(|tenant| tenant.value == "other").unwrap();
    assert!(snapshot.tenants.len() <= 1024 && other.calls > TENANTS / 2);
    let refused = snapshot.recorder.refused.iter().find(|(cause, _)| *cause == "label_cap").unwrap().1;
    assert!(refused >= other.calls);
    let quarter = bytes.into_inner();
    assert!(
        snapshot.recorder.bytes as u64 <= quarter + (64 << 10),
        "memory grew from {quarter} to {}",
        snapshot.recorder.bytes
    );
    assert!(quarter < 10 << 20);
}
