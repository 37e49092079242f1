//! Where there is no sampling to switch.

use crate::error::Error;

/// Needs Linux.
///
/// # Errors
/// [`Error::Unsupported`], always.
pub fn sample_heap(_lg_sample: Option<u32>) -> Result<(), Error> {
    Err(Error::Unsupported(super::status().1))
}

/// Needs Linux.
///
/// # Errors
/// [`Error::Unsupported`], always.
pub fn focus_heap(_on: Option<(&str, &str)>) -> Result<(), Error> {
    Err(Error::Unsupported(super::status().1))
}
