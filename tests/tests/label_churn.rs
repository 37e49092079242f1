//! Values that come and go while the caps are reached, in a process of its own: exporters see counters that only grow, and
//! what is heavy stays.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stagelight::{LabelKind, Snapshot, Window, query, snapshot};

#[query(name = "churn.query", key = statement, tenant = tenant)]
fn labelled(statement: &str, tenant: &str) -> Result<(), ()> {
    if tenant.ends_with('7') { Err(()) } else { Ok(()) }
}

fn calls(snapshot: &Snapshot, kind: LabelKind) -> u64 {
    snapshot.by_label(kind).iter().map(|stats| stats.calls).sum()
}

/// Waves of tenants, each wave heavy in its time, among those that come but once.
#[test]
fn counters_only_grow_under_churn_and_a_heavy_value_stays() {
    const THREADS: u64 = 3;
    const WAVES: u64 = 12;
    const EACH: u64 = 30_000;
    for _ in 0..20_000 {
        let _ = labelled("early", "early");
    }
    let done = AtomicBool::new(false);
    let made = AtomicU64::new(0);
    let first = snapshot();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let made = &made;
                scope.spawn(move || {
                    for wave in 0..WAVES {
                        // Every other wave is that of before the last one again: values that come back.
                        let name = format!("wave {}", if wave % 4 == 3 { wave - 2 } else { wave });
                        for n in 0..EACH {
                            let _ = match n % 4 {
                                0 => labelled("flood", &format!("once {thread} {wave} {n}")),
                                1 => labelled(&format!("statement {thread} {n}"), "early"),
                                _ => labelled("wave", &name),
                            };
                        }
                        made.fetch_add(EACH, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let watcher = scope.spawn(|| {
            let mut last = first.clone();
            let mut windows = 0;
            let mut ever = HashMap::new();
            while !done.load(Ordering::Relaxed) {
                let next = snapshot();
                for kind in LabelKind::ALL {
                    let now: HashMap<_, _> =
                        next.by_label(kind).iter().map(|s| (s.value.as_str(), s)).collect();
                    for before in last.by_label(kind) {
                        match now.get(before.value.as_str()) {
                            Some(now) if now.calls < before.calls => {
                                panic!(
                                    "{kind:?} {} fell from {} to {}",
                                    before.value, before.calls, now.calls
                                )
                            }
                            Some(now) => {
                                assert!(now.errors >= before.errors && now.total_ns >= before.total_ns);
                                assert!(now.histogram.count() >= before.histogram.count());
                            }
                            None => assert!(!["other", "early", ""].contains(&before.value.as_str())),
                        }
                    }
                    assert!(calls(&next, kind) >= calls(&last, kind));
                    assert!(now.len() <= 1024);
                }
                let window = Window::between(&last, next);
                let in_window: u64 = window.tenants.iter().map(|tenant| tenant.calls).sum();
                let difference = calls(&window.end, LabelKind::Tenant) - calls(&last, LabelKind::Tenant);
                assert_eq!(in_window, difference, "windows add up, whatever moves to `other`");
                for tenant in &window.end.tenants {
                    *ever.entry(tenant.value.clone()).or_insert(0) = tenant.calls;
                }
                last = window.end;
                windows += 1;
            }
            (windows, ever)
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let (windows, ever) = watcher.join().unwrap();
        assert!(windows > 1);
        let waves = ever.keys().filter(|tenant| tenant.starts_with("wave ")).count();
        assert!(waves > WAVES as usize / 2, "{waves} of them had an entry");
    });
    let last = snapshot();
    let made = made.into_inner();
    for kind in [LabelKind::Statement, LabelKind::Tenant] {
        assert_eq!(calls(&last, kind) - calls(&first, kind), made);
    }
    let early = last.tenants.iter().find(|tenant| tenant.value == "early").unwrap();
    assert!(early.calls >= 20_000);
}
