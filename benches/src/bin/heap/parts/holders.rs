//! Whether waits for a lock go to who held it.

use std::sync::Barrier;
use std::time::Duration;

use stagelight::query;
use stagelight_benches::report::{Bar, Report};
use stagelight_profiler::lock::Mutex;
use stagelight_profiler::locks;

const TENANTS: [&str; 4] = ["red", "green", "blue", "grey"];
const ROUNDS: usize = 200;

pub fn measure(report: &mut Report) {
    let lock = Mutex::new(());
    let Ok(session) = locks().start() else { return };
    for round in 0..ROUNDS {
        let taken = Barrier::new(3);
        let tenant = TENANTS[round % TENANTS.len()];
        std::thread::scope(|scope| {
            scope.spawn(|| hold(tenant, &lock, &taken));
            for _ in 0..2 {
                scope.spawn(|| wait(tenant, &lock, &taken));
            }
        });
    }
    let Ok(profiles) = session.stop() else { return };
    let waits = profiles.block;
    let right: i64 = TENANTS
        .iter()
        .map(|tenant| {
            waits.filter("tenant", &format!("for {tenant}")).filter("holder_tenant", tenant).total()
        })
        .sum();
    let share = right as f64 / waits.total().max(1) as f64 * 100.0;
    let expected = 1.5 * ROUNDS as f64;
    report.add(
        "holder-waits",
        "waits that were recorded",
        waits.stats().samples as f64,
        "",
        Bar::AtLeast(expected),
    );
    report.add("holder", "of their time with the right holder", share, "%", Bar::AtLeast(99.0));
}

/// Holds the lock until the others wait, and a while longer.
#[query(name = "bench.hold", key = "hold", tenant = tenant)]
fn hold(tenant: &str, lock: &Mutex<()>, taken: &Barrier) {
    let guard = lock.lock();
    taken.wait();
    std::thread::sleep(Duration::from_millis(3));
    drop(guard);
}

/// Waits for it, under a tenant by which one can tell whom for.
#[query(name = "bench.wait", key = "wait", tenant = format!("for {tenant}"))]
fn wait(tenant: &str, lock: &Mutex<()>, taken: &Barrier) {
    taken.wait();
    drop(lock.lock());
}
