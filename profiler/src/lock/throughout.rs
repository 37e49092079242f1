//! The waits that go on since before a session: their threads are looked at from outside.

use stagelight::__private::lock::{Waiter, waiter, waiters};

use super::record::{MAX_FRAMES, state};
use crate::profile::{Raw, STILL_WAITING};
use crate::sleeping::{Looker, Standing};

/// Threads whose stacks are walked: at some 100 µs each. Of further ones time and labels are known.
const MOST_STACKS: usize = 2000;

/// The waits that began before a moment and go on, each as a sample of the `ns` since. Whom they are
/// for is not known.
pub(super) fn since_before(moment: u64, ns: u64) -> Vec<Raw> {
    let mut waiters = waiters();
    waiters.retain(|waiter| waiter.since < moment);
    if waiters.is_empty() {
        return Vec::new();
    }
    let mut looker = Looker::new();
    let mut frames = [0; MAX_FRAMES];
    frames[0] = STILL_WAITING;
    let mut raw = Vec::new();
    for wait in waiters {
        let Waiter { tid, waits_for, .. } = wait;
        // One that ended leaves its mark behind in a child that was forked.
        let Some(standing) = Standing::of(tid) else { continue };
        let mut depth = 0;
        if standing.sleeps() && raw.len() < MOST_STACKS {
            depth = looker.stack(tid, &standing, &mut frames[1..]).map_or(0, |(depth, _)| depth);
        }
        let mut context = looker.context(tid, &standing);
        context.state = state(waits_for) as u8;
        if waiter(tid) == Some(wait) {
            raw.push(Raw { stack: frames[..1 + depth].into(), context, values: [1, ns as i64] });
        }
    }
    raw
}
