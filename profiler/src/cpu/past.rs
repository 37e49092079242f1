//! The CPU profiles of the last minutes, in memory, so that the past can be asked for when something has gone wrong.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::error::Error;
use crate::profile::{Kind, Profile, RawProfile};

/// Bytes of all segments together. The oldest make room.
const MAX_BYTES: usize = 8 << 20;

/// Profiles that triggers had kept. The oldest makes room.
const MAX_KEPT: usize = 8;

struct Segment {
    end: Instant,
    bytes: usize,
    /// Shared, so that it is added up without holding up who only asks how much there is.
    profile: Arc<RawProfile>,
}

struct Past {
    keep: Duration,
    /// Asks for what was taken since the last segment; answered once it is here.
    refresh: Arc<dyn Fn(Sender<()>) + Send + Sync>,
    segments: VecDeque<Segment>,
    bytes: usize,
}

/// While a continuous profile runs.
static PAST: Mutex<Option<Past>> = Mutex::new(None);

static KEPT: Mutex<VecDeque<Arc<KeptProfile>>> = Mutex::new(VecDeque::new());

fn lock() -> MutexGuard<'static, Option<Past>> {
    PAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers that long from now on. `false` if somebody else already does.
pub(super) fn open(keep: Duration, refresh: impl Fn(Sender<()>) + Send + Sync + 'static) -> bool {
    let mut past = lock();
    if past.is_some() {
        return false;
    }
    *past = Some(Past { keep, refresh: Arc::new(refresh), segments: VecDeque::new(), bytes: 0 });
    true
}

/// Forgets all but what triggers had kept.
pub(super) fn close() {
    *lock() = None;
}

/// Adds what was just taken, if anyone remembers.
pub(super) fn offer(profile: &RawProfile) {
    if lock().is_none() {
        return;
    }
    let profile = Arc::new(profile.clone());
    if let Some(past) = &mut *lock() {
        past.add(profile);
    }
}

impl Past {
    fn add(&mut self, profile: Arc<RawProfile>) {
        let (end, bytes) = (Instant::now(), profile.bytes());
        self.segments.push_back(Segment { end, bytes, profile });
        self.bytes += bytes;
        while let Some(oldest) = self.segments.front()
            && (self.bytes > MAX_BYTES || end.duration_since(oldest.end) > self.keep)
        {
            self.bytes -= oldest.bytes;
            self.segments.pop_front();
        }
    }

    fn recent(&self, duration: Duration) -> Vec<Arc<RawProfile>> {
        let recent = self.segments.iter().filter(|segment| segment.end.elapsed() < duration);
        recent.map(|segment| Arc::clone(&segment.profile)).collect()
    }
}

/// The CPU profile of the last so many seconds, in whole segments of five seconds, symbolized: of what
/// [`continuous`](super::continuous) has sampled, and of the CPU profiles that were taken meanwhile.
///
/// # Errors
/// [`Error::Unsupported`] if no continuous profile runs, [`Error::Invalid`] for no time at all.
pub fn past(duration: Duration) -> Result<Profile, Error> {
    raw(duration).map(|raw| raw.named(Kind::Cpu, false))
}

pub(crate) fn raw(duration: Duration) -> Result<RawProfile, Error> {
    if duration.is_zero() {
        return Err(Error::Invalid("the past of 0 s: it must be longer".into()));
    }
    let none = || {
        Error::Unsupported(
            "no continuous profile runs; start one by stagelight_profiler::continuous()".into(),
        )
    };
    let refresh = lock().as_ref().map(|past| Arc::clone(&past.refresh)).ok_or_else(none)?;
    let (reply, done) = mpsc::channel();
    refresh(reply);
    // What it can't give in time, or at all since it has stepped aside, is missing from the end.
    let _ = done.recv_timeout(Duration::from_secs(1));
    let recent = lock().as_ref().map(|past| past.recent(duration)).ok_or_else(none)?;
    RawProfile::sum(recent.iter().map(|profile| &**profile))
        .ok_or_else(|| Error::Unsupported("the continuous profile has taken nothing yet".into()))
}

/// A profile that a [trigger](super::Trigger) had kept.
#[derive(Debug)]
pub struct KeptProfile {
    number: u64,
    reason: String,
    at: SystemTime,
    profile: RawProfile,
}

impl KeptProfile {
    /// From 1 on, in the order in which they were kept.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Samples that it rests on.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.profile.stats.samples
    }

    /// Why it was kept, in words.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// When.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// The profile, symbolized now.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.named(false)
    }

    /// The same, on request with lines.
    pub(crate) fn named(&self, lines: bool) -> Profile {
        self.profile.clone().named(Kind::Cpu, lines)
    }
}

/// The profiles that triggers had kept, the newest first: at most 8. They outlast the continuous profile.
#[must_use]
pub fn kept_profiles() -> Vec<Arc<KeptProfile>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
}

pub(super) fn keep(reason: String, profile: RawProfile) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= MAX_KEPT {
        kept.pop_front();
    }
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let (number, at) = (NUMBER.fetch_add(1, Ordering::Relaxed), SystemTime::now());
    kept.push_back(Arc::new(KeptProfile { number, reason, at, profile }));
}

/// Bytes that all this takes.
pub(crate) fn bytes() -> usize {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    lock().as_ref().map_or(0, |past| past.bytes) + kept.iter().map(|kept| kept.profile.bytes()).sum::<usize>()
}

/// How many seconds back the past reaches, if a continuous profile runs.
#[cfg(feature = "control")]
pub(crate) fn status() -> Option<f64> {
    let past = lock();
    let oldest = past.as_ref()?.segments.front();
    Some(oldest.map_or(0.0, |oldest| (oldest.end.elapsed() + oldest.profile.stats.duration).as_secs_f64()))
}
