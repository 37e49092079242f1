//! Whether a function's result is an `Err`, for any type, decided by the compiler.
//!
//! The macros can't know from its name whether a type is a `Result`. `Outcome(&value).failed()` finds the
//! inherent method where it is one, and the trait's, which says no, for all else.

/// Wraps a reference to a function's result.
#[derive(Debug)]
pub struct Outcome<'a, T>(pub &'a T);

impl<T, E> Outcome<'_, Result<T, E>> {
    /// Whether the result is an error.
    #[inline(always)]
    #[must_use]
    pub fn failed(&self) -> bool {
        self.0.is_err()
    }
}

/// The answer for all types that aren't `Result`.
pub trait NeverFails {
    /// `false`.
    fn failed(&self) -> bool;
}

impl<T> NeverFails for Outcome<'_, T> {
    #[inline(always)]
    fn failed(&self) -> bool {
        false
    }
}

/// Calls a function's body. Its bound makes the compiler infer `FnOnce`, so that the body may move its
/// arguments and return what borrows from them.
#[inline(always)]
pub fn once<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_fail() {
        type Renamed<T> = std::result::Result<T, String>;
        assert!(Outcome(&Renamed::<()>::Err(String::new())).failed());
        assert!(!Outcome(&Renamed::Ok(1)).failed());
        assert!(!Outcome(&None::<u8>).failed());
        assert!(!Outcome(&()).failed());
    }
}
