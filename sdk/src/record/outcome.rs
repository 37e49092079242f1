//! Whether a function's result is an `Err`, for any type, decided by the compiler.
//!
//! The macros can't know from its name whether a type is a `Result`. `Outcome(&value).failed()` finds the
//! inherent method where it is one, or an `Option` or a `Poll` of one, whose error can be shown, the method
//! of [`MayFail`] where it is another one, and that of [`NeverFails`], which says no, for all else.

use std::fmt::Display;
use std::task::Poll;

use super::error_text::note_error;

/// Wraps a reference to a function's result.
#[derive(Debug)]
pub struct Outcome<'a, T>(pub &'a T);

/// The answer for a `Result` whose error has no text. It takes its value as the inherent method does, so that
/// it comes before [`NeverFails`].
pub trait MayFail {
    /// Whether the result is an error.
    fn failed(self) -> bool;
}

macro_rules! may_fail {
    ($($result:ty: $err:pat => $error:ident),*) => {$(
        impl<T, E: Display> Outcome<'_, $result> {
            /// Whether the result is an error. Its text is noted where that is wanted.
            #[inline(always)]
            #[must_use]
            pub fn failed(self) -> bool {
                if let $err = self.0 {
                    if cfg!(feature = "error-texts") {
                        note_error($error);
                    }
                    return true;
                }
                false
            }
        }

        impl<T, E> Outcome<'_, $result> {
            /// Whether the result is an error, whose text is left alone.
            #[inline(always)]
            #[must_use]
            #[allow(unused_variables, reason = "the error is not looked at")]
            pub fn is_error(self) -> bool {
                matches!(self.0, $err)
            }
        }

        impl<T, E> MayFail for Outcome<'_, $result> {
            #[inline(always)]
            #[allow(unused_variables, reason = "the error has no text")]
            fn failed(self) -> bool {
                matches!(self.0, $err)
            }
        }
    )*};
}
// Where a `Result` may be within what is none: a step of an iterator, a poll of a future or a stream.
may_fail!(
    Result<T, E>: Err(error) => error,
    Option<Result<T, E>>: Some(Err(error)) => error,
    Poll<Result<T, E>>: Poll::Ready(Err(error)) => error,
    Poll<Option<Result<T, E>>>: Poll::Ready(Some(Err(error))) => error
);

/// The answer for all types in which no `Result` is seen.
pub trait NeverFails {
    /// `false`.
    fn failed(&self) -> bool;
    /// `false`.
    fn is_error(&self) -> bool;
}

impl<T> NeverFails for Outcome<'_, T> {
    #[inline(always)]
    fn failed(&self) -> bool {
        false
    }
    #[inline(always)]
    fn is_error(&self) -> bool {
        false
    }
}

/// Gives back a result that is an error, once `note` has looked at it.
///
/// It takes the result by value. A function whose result's address went elsewhere would have to make the
/// result in one place and copy it to where its caller wants it, also where there is no error: 4 ns.
#[cold]
#[inline(never)]
pub fn noted<T>(result: T, note: impl FnOnce(&T) -> bool) -> T {
    note(&result);
    result
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
        struct NoText;
        assert!(Outcome(&Err::<(), _>(NoText)).failed());
        assert!(!Outcome(&Ok::<_, NoText>(())).failed());
        assert!(!Outcome(&None::<u8>).failed());
        assert!(!Outcome(&()).failed());
        let (err, ok) = (Err::<u8, _>("text"), Ok::<_, &str>(1));
        assert!(Outcome(&Some(err)).failed() && !Outcome(&Some(ok)).failed());
        assert!(!Outcome(&None::<Renamed<u8>>).failed());
        assert!(Outcome(&Poll::Ready(err)).failed() && !Outcome(&Poll::Ready(ok)).failed());
        assert!(!Outcome(&Poll::<Renamed<u8>>::Pending).failed());
        assert!(Outcome(&Poll::Ready(Some(err))).failed() && !Outcome(&Poll::Ready(Some(ok))).failed());
        assert!(Outcome(&Some(Err::<(), _>(NoText))).failed());
        assert!(Outcome(&Poll::Ready(Some(Err::<(), _>(NoText)))).failed());
        // The outermost `Result` decides.
        assert!(
            Outcome(&Err::<Option<u8>, _>("text")).failed() && !Outcome(&Ok::<_, &str>(None::<u8>)).failed()
        );
        assert!(!Outcome(&Ok::<_, &str>(err)).failed());
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
