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

/// Tells at the end of a scope that it was left without a result that is known to be none of `Err`'s, unless
/// by a panic.
#[derive(Debug)]
#[must_use = "what it notes is told when this is dropped"]
pub struct Exit<F: FnMut()> {
    failed: bool,
    fail: F,
}

impl<F: FnMut()> Exit<F> {
    /// `fail` is called where the scope is left without a word.
    #[inline(always)]
    pub fn new(fail: F) -> Self {
        Self { failed: true, fail }
    }

    /// The scope is about to be left with a result that is no error.
    #[inline(always)]
    pub fn succeeded(&mut self) {
        self.failed = false;
    }
}

impl<F: FnMut()> Drop for Exit<F> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.failed && !std::thread::panicking() {
            (self.fail)();
        }
    }
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

    #[test]
    fn a_scope_fails_unless_it_says_otherwise_or_panics() {
        let fails = |work: fn(&mut dyn FnMut())| {
            let mut failed = 0;
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut exit = Exit::new(|| failed += 1);
                work(&mut || exit.succeeded());
            }));
            failed
        };
        assert_eq!(fails(|_| ()), 1);
        assert_eq!(fails(|succeeded| succeeded()), 0);
        assert_eq!(fails(|_| panic!("as the test wants")), 0);
    }
}
