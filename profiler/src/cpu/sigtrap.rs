//! The handler of SIGTRAP, for all triggers whose events raise it: it tells them from each other and from the host's.

use super::handler::{self, Weight};
use super::perf_event::spare_descriptors;
use super::signal::{self, Former};
use super::{counting, kernel_ring, perf_kernel, perf_sigtrap, switches, tasks};
use crate::error::Error;

/// Comes back in the signal's information, by which our samples are told from other traps: for CPU samples as it is, for others
/// with a number added.
pub(super) const MARK: u64 = 0x5374_6167_656c_6974;

/// `si_code` of a trap by a perf event.
const TRAP_PERF: libc::c_int = 6;

static FORMER: Former = Former::new();

/// Makes ready for so many events a thread that raise SIGTRAP, or says why there can't be any.
pub(super) fn prepare(events: u64) -> Result<(), Error> {
    if tasks::traced() {
        return Err(Error::Refused("a debugger is attached, which would stop at every sample".into()));
    }
    if tasks::kernel_version() < (6, 1) {
        return Err(Error::Refused(
            "a kernel before 6.1 may kill a process whose thread blocks SIGTRAP as its sample falls due"
                .into(),
        ));
    }
    spare_descriptors(events)?;
    signal::install(libc::SIGTRAP, on_trap, &FORMER)
}

extern "C" fn on_trap(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    /// Where the kernel puts `sig_data` in a trap's information on 64-bit Linux.
    const SIG_DATA_OFFSET: usize = 24;
    // SAFETY: the kernel hands a whole `siginfo_t`, larger than the offset, to a handler with `SA_SIGINFO`.
    let (code, mark) =
        unsafe { ((*info).si_code, info.byte_add(SIG_DATA_OFFSET).cast::<u64>().read_unaligned()) };
    match mark.wrapping_sub(MARK) {
        // SAFETY: `context` is this handler's third argument.
        0 if code == TRAP_PERF => unsafe { handler::sample(Weight::SinceLast, context) },
        // SAFETY: as above. Such an event fires in the program's own code alone.
        perf_sigtrap::USER_MARK if code == TRAP_PERF => unsafe {
            handler::sample_within(Weight::SinceLast, Some(&[]), context);
        },
        // SAFETY: as above.
        switches::MARK if code == TRAP_PERF => unsafe { switches::on_switch(context) },
        // SAFETY: as above.
        mark if code == TRAP_PERF && counting::is_mark(mark) => unsafe { counting::on_count(mark, context) },
        // SAFETY: as above.
        mark if code == TRAP_PERF && kernel_ring::is_mark(mark) => unsafe {
            perf_kernel::on_sample(mark, context)
        },
        _ => FORMER.forward(signal, info, context),
    }
}
