//! Sampling all the time at a low rate.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::past;
use super::session::Session;
use super::trigger::Keeper;
use super::turn::Turn;
use super::{What, check_hz};
use crate::error::Error;

/// What is remembered, and forgotten, at once.
const SEGMENT: Duration = Duration::from_secs(5);

/// Between two tries to sample again, after another profile was asked for or while no rung works.
const RETRY: Duration = Duration::from_millis(250);

/// How long the past may be.
const KEEP: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(3600);

/// Samples all the time at a low rate and remembers the last minutes, so that the profile of the past can be had after
/// something went wrong: by [`past`](super::past), by the control API's `/debug/pprof/profile?past=60s`, or kept by
/// itself when a [trigger](super::Trigger) fires.
///
/// ```no_run
/// use stagelight_profiler::{Trigger, continuous};
///
/// let continuous = continuous().start()?;
/// let keeper = continuous.keeper().on(Trigger::slow_query()).on(Trigger::p99_jump("storage::*", 4.0));
/// let collector = stagelight::collector().exporter(keeper).start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// At 19 Hz it costs about 0.03 % of the process's time, and no more than 8 MiB. A profile that is asked for takes its place
/// meanwhile; one of the CPU is remembered too.
pub fn continuous() -> ContinuousBuilder {
    ContinuousBuilder { hz: 19, keep: Duration::from_secs(300) }
}

/// What a continuous profile shall be like.
#[derive(Clone, Debug)]
#[must_use = "call `start`"]
pub struct ContinuousBuilder {
    hz: u32,
    keep: Duration,
}

impl ContinuousBuilder {
    /// Samples a second of a thread's CPU time, 1 to 4999; 19 unless told otherwise.
    pub fn hz(mut self, hz: u32) -> Self {
        self.hz = hz;
        self
    }

    /// How long the past is that is remembered, 10 s to an hour; 5 minutes unless told otherwise, and less if it does not fit
    /// 8 MiB.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// Samples until the result is dropped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is out of range, [`Error::Busy`] if one runs already, and what refuses a CPU profile. If
    /// one, or a profile of another kind that excludes it, is being taken at this moment, this one begins after it, without an error.
    pub fn start(self) -> Result<Continuous, Error> {
        check_hz("a continuous CPU profile", self.hz)?;
        if !KEEP.contains(&self.keep) {
            let (shortest, longest) = (KEEP.start().as_secs(), KEEP.end().as_secs());
            return Err(Error::Invalid(format!(
                "a past of {} s: it must be {shortest} to {longest} seconds",
                self.keep.as_secs_f64()
            )));
        }
        let (asks, asked) = mpsc::channel();
        let refresh = asks.clone();
        // One that has ended answers nobody.
        if !past::open(self.keep, move |reply| drop(refresh.send(Ask::Refresh(reply)))) {
            return Err(Error::Busy("a continuous CPU profile runs already; one runs at a time".into()));
        }
        let open = Open;
        let sampler = Sampler { hz: self.hz, asks: asks.clone(), asked };
        // So that who starts it learns why it can't be.
        let first = sampler.begin()?;
        let thread = std::thread::Builder::new()
            .name("stagelight-past".into())
            .spawn(move || {
                stagelight::__private::count_own_thread();
                let _open = open;
                sampler.run(first);
            })
            .map_err(|error| Error::Io("no thread for the continuous profile".into(), error))?;
        Ok(Continuous { asks, thread: Some(thread) })
    }
}

/// Closes the past when dropped.
struct Open;

impl Drop for Open {
    fn drop(&mut self) {
        past::close();
    }
}

/// A continuous profile. Dropping it ends it and forgets the past, but for what triggers had kept.
#[must_use = "dropping it ends the profile"]
#[derive(Debug)]
pub struct Continuous {
    asks: Sender<Ask>,
    thread: Option<JoinHandle<()>>,
}

impl Continuous {
    /// An exporter for a [`collector`](stagelight::collector) that keeps the last minute's profile when a trigger fires.
    pub fn keeper(&self) -> Keeper {
        Keeper::new()
    }
}

impl Drop for Continuous {
    fn drop(&mut self) {
        let _ = self.asks.send(Ask::Stop);
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell, and no panic of its own to pass on.
            let _ = thread.join();
        }
    }
}

/// What the sampling thread is asked.
#[derive(Debug)]
enum Ask {
    /// For what was taken since the last segment, and an answer once it is in the past.
    Refresh(Sender<()>),
    /// To let another profile be taken.
    StepAside,
    Stop,
}

struct Sampler {
    hz: u32,
    asks: Sender<Ask>,
    asked: Receiver<Ask>,
}

impl Sampler {
    /// `None` if it is another profile's turn.
    fn begin(&self) -> Result<Option<Session>, Error> {
        let asks = self.asks.clone();
        let step_aside = move || drop(asks.send(Ask::StepAside));
        let what = What::Cpu { hz: self.hz, kernel_frames: false };
        let turn = Turn::take_aside(what.name(), "continuous profiling", step_aside);
        turn.map(|turn| Session::start_in(turn, what)).transpose()
    }

    fn run(&self, first: Option<Session>) {
        let mut session = first;
        loop {
            if let Some(session) = session.take()
                && self.sample(session)
            {
                return;
            }
            // However often it is asked meanwhile.
            let retry = Instant::now() + RETRY;
            session = loop {
                match self.asked.recv_timeout(retry.saturating_duration_since(Instant::now())) {
                    Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                    // There is nothing new.
                    Ok(Ask::Refresh(_) | Ask::StepAside) => {}
                    // What refuses it may pass; until then there is nothing to do, and the status says what runs.
                    Err(RecvTimeoutError::Timeout) => break self.begin().ok().flatten(),
                }
            };
        }
    }

    /// Takes segments until asked to step aside, or to stop, which it tells by `true`.
    fn sample(&self, mut session: Session) -> bool {
        let mut end = Instant::now() + SEGMENT;
        let stop = loop {
            let ask = match self.asked.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => break true,
                Ok(Ask::StepAside) => break false,
                Ok(Ask::Refresh(reply)) => Some(reply),
                Err(RecvTimeoutError::Timeout) => None,
            };
            match session.cut() {
                Ok(segment) => past::offer(&segment),
                Err(_) => break false,
            }
            end = Instant::now() + SEGMENT;
            if let Some(reply) = ask {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
        };
        if let Ok(segment) = session.finish_raw() {
            past::offer(&segment);
        }
        stop
    }
}
