//! Small functions that the macros' output calls, so that it needs no other words for them.

/// Calls a function's body. Its bound makes the compiler infer `FnOnce`, so that the body may move its
/// arguments and return what borrows from them.
#[inline(always)]
pub fn once<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Names an argument where a closure or an async block begins, which makes it capture the argument whole.
#[inline(always)]
pub const fn capture<T: ?Sized>(_: &T) {}

/// Stands at the end of code that is compiled for its types alone.
#[inline(always)]
pub fn never_reached() -> ! {
    unreachable!("code that is compiled for its types alone")
}

/// The name of a stage or component, checked when the program is compiled.
#[must_use]
pub const fn not_empty(name: &'static str) -> &'static str {
    assert!(!name.is_empty(), "the name of a stage or component is empty");
    name
}
