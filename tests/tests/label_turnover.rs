//! Heavy values that come when the caps are reached, in a process of its own: what is full makes room for them.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use stagelight::{LabelStats, Labels, Snapshot, query, snapshot};

#[query(name = "turnover.query", key = statement, tenant = tenant)]
fn labelled(statement: &str, tenant: &str) {}

#[query(name = "turnover.prepared", labels = labels)]
fn prepared(labels: Labels) {}

/// Calls, on all of which a newcomer that makes nothing else has surely got its entry: samples are random.
const ENOUGH: u64 = 40_000;

fn flood(name: &str, tenants: u64) {
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                (half..tenants).step_by(2).for_each(|tenant| labelled("flood", &format!("{name} {tenant}")));
            });
        }
    });
}

fn tenant<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a LabelStats> {
    snapshot.tenants.iter().find(|tenant| tenant.value == name)
}

fn calls(stats: &[LabelStats]) -> u64 {
    stats.iter().map(|stats| stats.calls).sum()
}

/// Queries of the tenant, on a thread of its own, until it has its own entry.
fn until_it_has_an_entry(mut query: impl FnMut() + Send, name: &str) -> u64 {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut other = tenant(&snapshot(), "other").map_or(0, |other| other.calls);
            for n in 1..=ENOUGH {
                query();
                if n % 1000 == 0 {
                    let snapshot = snapshot();
                    let now = tenant(&snapshot, "other").map_or(0, |other| other.calls);
                    assert!(now >= other, "`other` fell from {other} to {now}");
                    other = now;
                    if tenant(&snapshot, name).is_some() {
                        return n;
                    }
                }
            }
            panic!("{name} has no entry after {ENOUGH} calls");
        });
        thread.join().unwrap()
    })
}

/// Interned while there was room.
static RETURNING: LazyLock<Labels> = LazyLock::new(|| Labels::new(&"returning", &"returning", &(), &()));

/// The caps are the process's.
fn alone() -> impl Drop {
    static ALONE: Mutex<()> = Mutex::new(());
    LazyLock::force(&RETURNING);
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_hot_tenant_that_comes_after_a_hundred_thousand_gets_an_entry() {
    const TENANTS: u64 = 100_000;
    let _alone = alone();
    let before = snapshot();
    flood("once", TENANTS);
    let full = snapshot();
    assert!(tenant(&full, "hot").is_none() && tenant(&full, "other").is_some());
    let made = until_it_has_an_entry(|| labelled("hot statement", "hot"), "hot");
    // From then on it counts under its own name, on this thread, too, once it has looked again.
    let start = snapshot();
    std::thread::spawn(|| (0..ENOUGH).for_each(|_| labelled("hot statement", "hot"))).join().unwrap();
    let end = snapshot();
    let own = tenant(&end, "hot").unwrap().calls - tenant(&start, "hot").unwrap().calls;
    assert_eq!(own, ENOUGH);
    assert_eq!(calls(&end.tenants) - calls(&before.tenants), TENANTS + made + ENOUGH);
    assert_eq!(calls(&end.statements) - calls(&before.statements), TENANTS + made + ENOUGH);
    assert!(end.tenants.len() <= 1024);
    let statement = end.statements.iter().find(|statement| statement.value == "hot statement").unwrap();
    assert_eq!(statement.calls, made + ENOUGH, "a tenant's loss is none of its statement");
}

#[test]
fn a_tenant_that_lost_its_entry_gets_it_again_even_by_labels_of_before() {
    let _alone = alone();
    let labels = *RETURNING;
    prepared(labels);
    flood("another", 5_000);
    // It does nothing while heavier ones come, until all that have an entry are.
    let mut newcomer = 0_u64;
    while tenant(&snapshot(), "returning").is_some() || newcomer == 0 {
        let name = format!("heavy {newcomer}");
        until_it_has_an_entry(|| labelled("heavy", &name), &name);
        newcomer += 1;
        assert!(newcomer < 1024, "the idlest has to go");
    }
    let start = snapshot();
    let refused: HashMap<_, _> = start.recorder.refused.iter().copied().collect();
    assert!(refused["label_lost"] >= newcomer, "what went is counted");
    let made = until_it_has_an_entry(|| prepared(labels), "returning");
    let middle = snapshot();
    (0..1000).for_each(|_| prepared(labels));
    let end = snapshot();
    assert_eq!(calls(&end.tenants) - calls(&start.tenants), made + 1000);
    let [middle, end] = [&middle, &end].map(|snapshot| tenant(snapshot, "returning").unwrap());
    assert_eq!(end.calls - middle.calls, 1000);
    assert!(end.calls < 1000 + made, "what it made before it came again is `other`'s");
}
