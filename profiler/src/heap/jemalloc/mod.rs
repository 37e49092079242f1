//! The jemalloc of `heap_profiler!`, which samples by itself and calls us for stacks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::live::Found;
use super::tier::{Rate, Tier};
use crate::error::Error;

pub(crate) mod activation;
pub(crate) mod control;
pub mod dump;
mod file_size;
#[cfg(target_arch = "x86_64")]
mod hook;
mod live;
pub(crate) mod options;
mod reset;
mod sampled;

use activation::Active;

/// Since when there are samples, if not since the start.
static SINCE: Mutex<Option<SystemTime>> = Mutex::new(None);

/// One dump, or change of the rate, at a time.
fn dumping() -> MutexGuard<'static, ()> {
    static DUMPING: Mutex<()> = Mutex::new(());
    DUMPING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tier for Active {
    fn name(&self) -> String {
        // In a static program C code keeps the C library's allocator.
        let whose = if cfg!(target_feature = "crt-static") { ", for Rust alone" } else { "" };
        format!("jemalloc with {}{whose}", self.unwinder)
    }

    fn lacks(&self) -> Option<(&'static str, &str)> {
        self.own_unwinder_refused.as_deref().map(|reason| ("labels", reason))
    }

    fn since(&self) -> Option<SystemTime> {
        Some(SINCE.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(self.since))
    }

    fn rate(&self) -> Result<Rate, String> {
        // SAFETY: the manual gives `bool`.
        let on = unsafe { control::read::<bool>(c"prof.active") }?;
        Ok(Rate { interval: control::interval()?, on })
    }

    fn set(&self, lg_sample: Option<u32>) -> Result<(), Error> {
        let refused =
            |what: &'static str| move |error: String| Error::Unsupported(format!("{what}: {error}"));
        let Some(lg_sample) = lg_sample else {
            // SAFETY: the manual gives `bool`.
            return unsafe { control::write(c"prof.active", false) }.map_err(refused("prof.active"));
        };
        let mut since = SINCE.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the manual gives `size_t` for both rates and `bool` for whether it is active.
        unsafe {
            if control::read::<usize>(c"prof.lg_sample") != Ok(lg_sample as usize) {
                reset::reset(lg_sample as usize)?;
                *since = Some(SystemTime::now());
            }
            control::write(c"prof.active", true).map_err(refused("prof.active"))
        }
    }

    fn live(&self) -> Result<Found, Error> {
        live::live()
    }

    fn tell(&self, whether: bool) -> Result<(), String> {
        self.allocations_told.clone()?;
        sampled::tell(whether)
    }

    fn leave_out_this_thread(&self) {
        // SAFETY: the manual gives `bool`.
        let _ = unsafe { control::write(c"thread.prof.active", false) };
    }
}
