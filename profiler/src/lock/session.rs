//! Recording waits and holds for a while. One does at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use stagelight::__private::lock as switch;

use super::record::{self, Counts, Recorded};
use crate::error::Error;
use crate::profile::{
    Cuts, Kind, Profile, ProfileStats, Raw, RawProfile, STILL_WAITING, State, waits_that_go_on,
};
use crate::running::Running;
use crate::settings::{self, Settings};
use crate::stopped::Watcher;
use crate::symbolize::Frame;

/// Profiles of [the locks](stagelight::lock) that tell of their waits: who waits, for how long, and for whom.
///
/// ```no_run
/// # use std::time::Duration;
/// let profiles = stagelight_profiler::locks().duration(Duration::from_secs(10)).run()?;
/// profiles.block.by_label("holder_tenant").write_flamegraph(std::fs::File::create("block.svg")?)?;
/// profiles.mutex.write_pprof(std::fs::File::create("mutex.pb.gz")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The module [`lock`](crate::lock) says what the two are and what they cost. They go together with profiles of other kinds.
pub fn locks() -> LocksBuilder {
    LocksBuilder { settings: Settings::default() }
}

/// What profiles of locks shall be like.
#[derive(Clone, Debug)]
#[must_use = "call `run` or `start`"]
pub struct LocksBuilder {
    settings: Settings,
}

impl LocksBuilder {
    settings::methods!("a profile of locks" => LocksSession => LockProfiles);
    settings::lines_method!();

    /// Records until the session is stopped.
    ///
    /// # Errors
    /// [`Error::Busy`] while locks are recorded already.
    pub fn start(self) -> Result<LocksSession, Error> {
        self.begin(None)
    }

    fn begin(self, duration: Option<Duration>) -> Result<LocksSession, Error> {
        let mut running = running();
        running.as_ref().map_or(Ok(()), |running| Err(running.busy()))?;
        *running = Some(Running::new("profiles of locks", self.settings.owner, duration));
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        crate::unwind::refresh();
        crate::thread_name::learn_program();
        record::open();
        switch::install(&record::Locks);
        let session = LocksSession {
            before: record::counts(),
            cpu_start: crate::overhead::process_cpu_time(),
            started: SystemTime::now(),
            start: Instant::now(),
            watcher: Watcher::start(),
            lines: self.settings.lines,
        };
        switch::turn_on();
        Ok(session)
    }
}

/// What such a profile does not show.
const KNOWN: &str = "it knows the locks of stagelight::sync and stagelight::parking_lot, and the waits that \
                     stagelight::lock was told of; an off-CPU profile knows all waits, and not whom they are for";

/// Who records.
fn running() -> MutexGuard<'static, Option<Running>> {
    static RUNNING: Mutex<Option<Running>> = Mutex::new(None);
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`locks`] gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LockProfiles {
    /// Waits, by who waited: how many, and nanoseconds.
    pub block: Profile,
    /// Holds that made others wait, by who held: how many, and the nanoseconds that others waited.
    pub mutex: Profile,
}

/// Locks are being recorded. Dropping it ends that without a result.
#[must_use = "dropping it ends the profiles without a result"]
#[derive(Debug)]
pub struct LocksSession {
    before: Counts<u64>,
    cpu_start: Duration,
    started: SystemTime,
    start: Instant,
    watcher: Option<Watcher>,
    lines: bool,
}

impl LocksSession {
    /// Ends recording and gives the profiles, symbolized.
    ///
    /// # Errors
    /// None at present.
    pub fn stop(mut self) -> Result<LockProfiles, Error> {
        let lines = self.lines;
        let [block, mutex] = self.take();
        Ok(LockProfiles { block: named(block, Kind::Block, lines), mutex: named(mutex, Kind::Mutex, lines) })
    }

    /// Ends recording and gives the one or the other.
    #[cfg(feature = "control")]
    pub(crate) fn stop_one(mut self, kind: Kind) -> Profile {
        let lines = self.lines;
        let [block, mutex] = self.take();
        named(if kind == Kind::Mutex { mutex } else { block }, kind, lines)
    }

    /// Waits and holds.
    fn take(&mut self) -> [RawProfile; 2] {
        let (started, now) = (switch::started(), switch::now());
        switch::turn_off();
        let Recorded { mut waits, holds, waiting } = record::close(now);
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        let throughout = super::throughout::since_before(started, now.saturating_sub(started));
        #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
        let throughout: Vec<Raw> = Vec::new();
        let stopped = self.watcher.take().map(Watcher::finish).unwrap_or_default();
        let (counts, before) = (record::counts(), &self.before);
        let cpu_time = crate::overhead::process_cpu_time().saturating_sub(self.cpu_start);
        let stats = |samples, of: record::Of| ProfileStats {
            rung: "locks".into(),
            rung_limits: "of Stagelight's locks, and of waits that tell of themselves".into(),
            rungs_refused: Vec::new(),
            notes: vec![KNOWN.into()],
            stopped,
            samples,
            complete_stacks: counts.complete[of as usize] - before.complete[of as usize],
            thinned: counts.thinned[of as usize] - before.thinned[of as usize],
            dropped: vec![
                ("busy", counts.busy - before.busy),
                ("nested", counts.nested - before.nested),
                ("stack_cap", counts.stack_cap - before.stack_cap),
                ("context_cap", counts.context_cap - before.context_cap),
            ],
            cpu_time,
            own_threads: Duration::ZERO,
            own_samples: 0,
            own_functions: Duration::ZERO,
            started: self.started,
            duration: self.start.elapsed(),
            period: record::MIN_WAIT_NS as i64,
        };
        let all_throughout = throughout.len() as u64;
        waits.extend(throughout);
        let mut block = stats(counts.waits - before.waits + waiting + all_throughout, record::Of::Wait);
        block.notes.extend(waits_that_go_on(all_throughout, waiting));
        let mut mutex = stats(counts.holds - before.holds, record::Of::Hold);
        mutex.notes.extend(holds_that_go_on(&waits));
        [RawProfile { raw: waits, stats: block }, RawProfile { raw: holds, stats: mutex }]
    }
}

impl Drop for LocksSession {
    fn drop(&mut self) {
        switch::turn_off();
        record::close(switch::now());
        *running() = None;
    }
}

/// What there is to say of holds that go on: they are not recorded yet, but those who wait for them are.
fn holds_that_go_on(waits: &[Raw]) -> Option<String> {
    let for_a_lock =
        |wait: &&Raw| wait.stack.first() == Some(&STILL_WAITING) && wait.context.state == State::Lock as u8;
    let count: i64 = waits.iter().filter(for_a_lock).map(|wait| wait.values[0]).sum();
    let has = if count == 1 { "1 wait for a lock has" } else { &format!("{count} waits for locks have") };
    (count > 0).then(|| format!("{has} not ended, nor what it is for: the block profile shows who waits"))
}

/// Symbolizes, and takes off the frames of the locks themselves, so that stacks end in who locked,
/// or in that it waits still.
fn named(raw: RawProfile, kind: Kind, lines: bool) -> Profile {
    let mut profile = raw.named(kind, lines);
    take_locks_off(&mut profile);
    profile
}

fn take_locks_off(profile: &mut Profile) {
    const PREFIXES: [&str; 6] = [
        "stagelight::lock::",
        "stagelight::parking_lot::",
        "stagelight::sync::",
        "stagelight_profiler::lock::",
        "stagelight_profiler::unwind::",
        "lock_api::",
    ];
    let is_ours = |name: &str| {
        let name = name.trim_start_matches('<');
        let dropped = name.strip_prefix("core::ptr::drop_in_place<").unwrap_or(name);
        PREFIXES.iter().any(|prefix| dropped.starts_with(prefix))
    };
    let is_cores = |name: &str| name.trim_start_matches('<').starts_with("core::");
    // Frame by frame: with lines, the locks are inlined into who locks.
    let whose = |frame: &Frame| (is_ours(&frame.function), is_cores(&frame.function));
    let frames = profile.locations.iter().map(|location| location.frames.iter().map(whose).collect());
    let whose: Vec<Vec<(bool, bool)>> = frames.collect();
    let mut cuts = Cuts::default();
    for sample in &mut profile.samples {
        let is_marker = |&at: &u32| profile.locations[at as usize].address == STILL_WAITING;
        let waits = sample.stack.first().copied().filter(is_marker);
        sample.stack.drain(..usize::from(waits.is_some()));
        let frames = || sample.stack.iter().flat_map(|&at| &whose[at as usize]);
        // A thread that was looked at from outside stands in what the lock is made of.
        let first = waits.and_then(|_| frames().position(|(ours, _)| *ours)).unwrap_or(0);
        let between = frames().enumerate().skip(first).take_while(|(_, (ours, cores))| *ours || *cores);
        let inner = between.filter(|(_, (ours, _))| *ours).last().map_or(0, |(last, _)| last + 1);
        cuts.cut(&mut profile.locations, &mut sample.stack, inner, |_, _| false);
        sample.stack.splice(..0, waits);
    }
}

/// Counts since the process started, for those who export them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    /// Waits and holds that were recorded.
    pub(crate) kept: u64,
    /// Those that were not, because others recorded.
    pub(crate) busy: u64,
    /// Those that were not, because they happened while one was recorded.
    pub(crate) nested: u64,
}

pub(crate) fn totals() -> Totals {
    let counts = record::counts();
    Totals { kept: counts.waits + counts.holds, busy: counts.busy, nested: counts.nested }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::sample_profile;

    #[test]
    fn stacks_end_in_who_locked_though_the_lock_was_inlined_there() {
        let mut profile = sample_profile();
        let names = [
            "stagelight_profiler::unwind::walk::Registers::here",
            "stagelight_profiler::lock::record::find",
            "core::option::Option<T>::map",
            "<stagelight::parking_lot::mutex::RawMutex as lock_api::mutex::RawMutex>::lock",
            "app::transfer",
        ];
        profile.locations[0].frames = names.map(Frame::named).to_vec();
        take_locks_off(&mut profile);
        let innermost = |at: usize| profile.frames(&profile.samples[at]).next().unwrap().function.as_str();
        assert_eq!([0, 1].map(innermost), ["app::transfer", "orders::step::<T>"]);
    }
}
