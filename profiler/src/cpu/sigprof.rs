//! The handler of SIGPROF, for all triggers that use it: it tells their signals from each other and from the host's.

use super::handler::{self, Weight};
use super::signal::{self, Former};
use super::{ctimer, roll, walker};
use crate::error::Error;

/// `si_code` of a signal that a descriptor sends by `F_SETSIG`.
const POLL_CODES: std::ops::RangeInclusive<libc::c_int> = 1..=6;

static FORMER: Former = Former::new();

/// Installs it, if it isn't.
pub(super) fn install() -> Result<(), Error> {
    signal::install(libc::SIGPROF, on_prof, &FORMER)
}

extern "C" fn on_prof(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a whole `siginfo_t` to a handler with `SA_SIGINFO`.
    let (code, periods) = unsafe { ((*info).si_code, ctimer::periods(info)) };
    let weight = if let Some(periods) = periods {
        Weight::Periods(periods)
    } else if POLL_CODES.contains(&code) {
        // An event's. The descriptor is not compared: one that comes late, after its event was closed, must not meet the
        // default action.
        Weight::SinceLast
    // SAFETY: as above.
    } else if let Some(value) = unsafe { walker::visit_value(info) } {
        // SAFETY: `context` is this handler's third argument.
        return unsafe { walker::on_visit(value, context) };
    } else if roll::answer() {
        // The sampler thread's. Its information may be lost, where the limit of pending signals is reached; so it is known
        // by having been sent. Should the host's own arrive first, it is taken for ours and ours for the host's.
        Weight::SinceLast
    // After the sampler thread's: of one that lost its information, only who was asked knows that it is not a visit.
    // SAFETY: as above.
    } else if unsafe { walker::is_nameless(info) } {
        // SAFETY: `context` is this handler's third argument.
        return unsafe { walker::on_visit(0, context) };
    } else {
        return FORMER.forward(signal, info, context);
    };
    // SAFETY: `context` is this handler's third argument.
    unsafe { handler::sample(weight, context) };
}
