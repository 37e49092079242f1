//! The handler of SIGURG, for all triggers that use it: it tells their signals from each other and
//! from the host's.
//!
//! This signal, because its default action is to do nothing: one that is pending as the host calls
//! `exec` outlives the handler, and any other would kill the program that comes after. Nobody else
//! uses it but for urgent data of sockets, and debuggers let it pass.

use super::handler::{self, Weight};
use super::queued::{self, Purpose, Queued};
use super::signal::{self, Former};
use super::{ctimer, roll, walker};
use crate::error::Error;

/// `si_code` of a signal that a descriptor sends by `F_SETSIG`.
const POLL_CODES: std::ops::RangeInclusive<libc::c_int> = 1..=6;

static FORMER: Former = Former::new();

/// Installs it, if it isn't.
pub(super) fn install() -> Result<(), Error> {
    signal::install(libc::SIGURG, on_urgent, &FORMER)
}

extern "C" fn on_urgent(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: `context` is this handler's third argument.
    let sample = |weight| unsafe { handler::sample(weight, context) };
    // SAFETY: as above.
    let visit = |value| unsafe { walker::on_visit(value, context) };
    // SAFETY: the kernel hands a whole `siginfo_t` to a handler with `SA_SIGINFO`.
    let (code, periods, queued) = unsafe { ((*info).si_code, ctimer::periods(info), queued::read(info)) };
    if let Some(periods) = periods {
        return sample(Weight::Periods(periods));
    }
    if POLL_CODES.contains(&code) {
        // An event's. The descriptor is not compared: one that comes late, after its event was closed, must not meet the
        // default action. It fired in the program's own code.
        // SAFETY: as above.
        return unsafe { handler::sample_within(Weight::SinceLast, Some(&[]), context) };
    }
    match queued {
        Queued::For(Purpose::Visit, value) => visit(value),
        // If it is not asked for any more, it was answered at a signal of the host's.
        Queued::For(Purpose::Ask, _) if !roll::answer() => {}
        Queued::For(Purpose::Ask, _) => sample(Weight::SinceLast),
        // The sampler thread's if it asked. Should it be the host's all the same, ours is taken for
        // the host's.
        Queued::SaysNothing | Queued::Unmarked if roll::answer() => sample(Weight::SinceLast),
        Queued::SaysNothing if walker::may_visit() => visit(0),
        Queued::SaysNothing | Queued::Unmarked | Queued::Not => {
            // The host's. One of the sampler thread's may have fallen together with it: a thread
            // has one of a kind pending.
            if roll::answer() {
                sample(Weight::SinceLast);
            }
            FORMER.forward(signal, info, context);
        }
    }
}
