//! What may stand for a label in `#[query(tenant = EXPR)]`.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// A value that can label a query: text, a whole number, or an option of one. `None` and the empty text
/// mean that the query does not say.
///
/// A number is written to the stack, so no label allocates.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't label a query",
    label = "a label is text, a whole number, or an option of one",
    note = "write what stands for it: a name, or a number by `as u64`"
)]
pub trait LabelValue {
    /// Calls `with` with the value as text.
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R;
}

impl LabelValue for str {
    #[inline(always)]
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        with(self)
    }
}

/// Not given.
impl LabelValue for () {
    #[inline(always)]
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        with("")
    }
}

impl<T: LabelValue> LabelValue for Option<T> {
    #[inline]
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        match self {
            Some(value) => value.with_label(with),
            None => with(""),
        }
    }
}

macro_rules! label_through {
    ($($pointer:ty),*) => {$(
        impl LabelValue for $pointer {
            #[inline(always)]
            fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
                with(self)
            }
        }
    )*};
}
label_through!(String, Box<str>, Rc<str>, Arc<str>, Cow<'_, str>);

macro_rules! label_through_reference {
    ($($reference:ty),*) => {$(
        impl<T: LabelValue + ?Sized> LabelValue for $reference {
            #[inline(always)]
            fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
                T::with_label(self, with)
            }
        }
    )*};
}
label_through_reference!(&T, &mut T);

macro_rules! label_number {
    ($($unsigned:ty, $signed:ty);*) => {$(
        impl LabelValue for $unsigned {
            #[inline]
            fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
                with_decimal(false, u128::from(*self as u64), with)
            }
        }
        impl LabelValue for $signed {
            #[inline]
            fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
                with_decimal(*self < 0, u128::from((*self as i64).unsigned_abs()), with)
            }
        }
    )*};
}
label_number!(u8, i8; u16, i16; u32, i32; u64, i64; usize, isize);

/// A UUID kept as a number, for one.
impl LabelValue for u128 {
    #[inline]
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        with_decimal(false, *self, with)
    }
}

fn with_decimal<R>(negative: bool, mut value: u128, with: impl FnOnce(&str) -> R) -> R {
    let mut digits = [0_u8; 40];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if negative {
        start -= 1;
        digits[start] = b'-';
    }
    with(std::str::from_utf8(&digits[start..]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_std_writes_them() {
        for value in [0, 7, -1, i64::MIN, i64::MAX] {
            value.with_label(|text| assert_eq!(text, value.to_string()));
        }
        u128::MAX.with_label(|text| assert_eq!(text, u128::MAX.to_string()));
        u64::MAX.with_label(|text| assert_eq!(text, u64::MAX.to_string()));
    }

    #[test]
    fn absence_is_empty() {
        None::<&str>.with_label(|text| assert_eq!(text, ""));
        Some(&String::from("a")).with_label(|text| assert_eq!(text, "a"));
    }
}
