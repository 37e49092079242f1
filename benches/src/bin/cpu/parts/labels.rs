//! Whether samples have the stage and the tenant that their thread was in.

use std::time::Duration;

use stagelight::{query, stage};
use stagelight_benches::report::{Bar, Report};

use super::load;

const TENANTS: [&str; 4] = ["red", "green", "blue", "grey"];

#[query(name = "bench.query", key = "bench", tenant = tenant)]
fn ask(tenant: &str, rounds: u32) {
    inner(rounds);
}

#[stage(name = "bench.inner")]
fn inner(rounds: u32) {
    load::works(rounds.into(), 1);
}

pub fn measure(report: &mut Report) {
    let Ok(session) = stagelight_profiler::cpu().hz(999).start() else { return };
    std::thread::scope(|scope| {
        for tenant in TENANTS {
            let thread = std::thread::Builder::new().name(tenant.into());
            // In the stage for nearly all of its life.
            let work = move || (0..4).for_each(|_| ask(tenant, 60_000));
            drop(thread.spawn_scoped(scope, work));
        }
    });
    std::thread::sleep(Duration::from_millis(50));
    let Ok(profile) = session.stop() else { return };
    let (mut all, mut right) = (0, 0);
    for tenant in TENANTS {
        // Within the stage's body: those with its path.
        let within = profile.filter("thread", tenant).filter("path", "bench.query > bench.inner");
        all += within.total();
        right += within.filter("tenant", tenant).filter("stage", "bench.inner").total();
    }
    let of_threads: i64 = TENANTS.iter().map(|tenant| profile.filter("thread", tenant).total()).sum();
    let share = |part: i64, whole: i64| part as f64 / whole.max(1) as f64 * 100.0;
    report.add(
        "labels-right",
        "samples within the stage with its stage and tenant",
        share(right, all),
        "%",
        Bar::AtLeast(100.0),
    );
    report.add(
        "labels-within",
        "time of threads that are all but always in the stage, within it",
        share(all, of_threads),
        "%",
        Bar::AtLeast(99.0),
    );
}
