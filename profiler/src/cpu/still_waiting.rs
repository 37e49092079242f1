//! The waits that an off-CPU profile's end falls into: they count up to it. Their threads raise no
//! signal, so they are looked at from outside.

use std::sync::atomic::Ordering;

use super::handler::{self, Recorder};
use super::ring::Sample;
use super::stands::{self, Entry, FIRST};
use super::tasks;
use crate::clock;
use crate::profile::{NOT_IN_FOCUS, STILL_WAITING, State, waits_that_go_on};
use crate::sleeping::{Looker, Standing};

/// Threads whose stacks are walked: at some 100 µs each. Of further ones time and labels are known.
const MOST_STACKS: u64 = 2000;

/// Adds the waits that have not ended, and says how many there are.
pub(super) fn count(recorder: &Recorder, take: &mut dyn FnMut(&Sample)) -> Vec<String> {
    let now = clock::monotonic_ns();
    // From here on who comes back counts its wait only if this does not.
    recorder.closing.store(true, Ordering::Release);
    let mut looker = Looker::new();
    let (mut waits, mut throughout, mut without) = (0_u64, 0_u64, 0_u64);
    let mut sample = Sample::empty();
    for tid in tasks::list() {
        let Some(standing) = Standing::of(tid) else { continue };
        if !standing.sleeps() || standing.is_ours() {
            continue;
        }
        let Some(Wait { ns, all }) = wait(recorder, tid, &standing, now) else { continue };
        let depth = match waits < MOST_STACKS {
            true => looker.stack(tid, &standing, &mut sample.frames[1..]),
            false => Some((0, false)),
        };
        // One that ran meanwhile tells of its wait by itself, and so may one that runs by now.
        let Some((depth, complete)) = depth else { continue };
        if !stands::entry(tid).is_none_or(Entry::count) {
            continue;
        }
        sample.frames[0] = STILL_WAITING;
        sample.context = looker.context(tid, &standing);
        sample.context.state = State::Waiting as u8;
        (sample.depth, sample.complete) = (1 + depth, complete);
        if !recorder.in_focus(&sample.context) {
            sample.frames[0] = NOT_IN_FOCUS;
            (sample.depth, sample.complete) = (1, false);
        }
        (sample.count, sample.weight) = (1, ns);
        take(&sample);
        handler::TAKEN.fetch_add(1, Ordering::Relaxed);
        handler::KEPT.fetch_add(1, Ordering::Relaxed);
        waits += 1;
        throughout += u64::from(all);
        without += u64::from(depth == 0);
    }
    let mut notes = waits_that_go_on(throughout, waits - throughout);
    if without > 0 {
        notes.push(format!("of {without} waits that had not ended there is no stack"));
    }
    notes
}

struct Wait {
    ns: u64,
    /// Whether it began before the profile did.
    all: bool,
}

/// How long a thread has waited; `None` if that is not known.
fn wait(recorder: &Recorder, tid: i32, standing: &Standing, now: u64) -> Option<Wait> {
    let began = recorder.began.get()?;
    let cpu = clock::thread_cpu_ns(tid).ok()?;
    let since = |wall: u64, from: u64| now.saturating_sub(wall).saturating_sub(cpu.saturating_sub(from));
    // An entry of a thread that ended may have its id.
    let noted = stands::entry(tid).and_then(Entry::noted).filter(|&(_, from)| from <= cpu);
    if let Some((wall, from)) = noted {
        return Some(Wait { ns: since(wall, from), all: false });
    }
    if let Some(stand) = began.running(tid) {
        return Some(Wait { ns: since(stand.wall, stand.cpu), all: false });
    }
    if let Some(stand) = began.waiting(tid) {
        if stand.switches == standing.switches {
            return Some(Wait { ns: now.saturating_sub(stand.wall), all: true });
        }
        // It came back once, unseen, so how its time parts into two waits is not known.
        FIRST.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    // It started meanwhile, and has not come back from a wait yet.
    let age = clock::since_boot_ns().saturating_sub(tasks::started(tid)?);
    Some(Wait { ns: age.saturating_sub(cpu).min(now.saturating_sub(recorder.started)), all: false })
}
