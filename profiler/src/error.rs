//! What can go wrong, in sentences that say what would be right.

use std::fmt;
use std::io;

/// Why a profile could not be taken or the control API not started. Recording goes on in any case.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range; the text names the allowed one.
    Invalid(String),
    /// Another profile of the kind is running; the text says whose and until when.
    Busy(String),
    /// The machine refuses it; the text says what to allow.
    Refused(String),
    /// The build or the platform lacks it; the text says what is missing.
    Unsupported(String),
    /// The system failed.
    Io(String, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Invalid(text) | Error::Busy(text) | Error::Refused(text) | Error::Unsupported(text) => {
                f.write_str(text)
            }
            Error::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

impl Error {
    /// The last system call's failure.
    pub(crate) fn last(what: impl Into<String>) -> Self {
        Error::Io(what.into(), io::Error::last_os_error())
    }
}
