//! What may stand for a label in `#[query(tenant = EXPR)]`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

/// A value that can label a query. `None` and the empty text mean that the query does not say.
///
/// | | types | reads |
/// | --- | --- | --- |
/// | text | `str`, `String`, `char` | as it is |
/// | whole numbers | `u8` to `u128`, `i8` to `i128`, `usize`, `isize`, `NonZero` of each | decimal |
/// | truth | `bool` | `true`, `false` |
/// | addresses | `IpAddr`, `Ipv4Addr`, `Ipv6Addr`, `SocketAddr`, `SocketAddrV4`, `SocketAddrV6` | as `std` writes them |
/// | ids | `uuid::Uuid`, with the feature `uuid` | lower case, with hyphens |
///
/// and `&`, `&mut`, `Box`, `Rc`, `Arc`, `Cow` and `Option` of each.
///
/// What is not text is written to the stack, so no label allocates.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't label a query",
    label = "this is no type that can be a label",
    note = "a label is text, `char`, a whole number, `NonZero`, `bool`, an IP or socket address, \
            `Uuid` (feature `uuid` of stagelight), or a reference, `Box`, `Rc`, `Arc`, `Cow` or \
            `Option` of one",
    note = "of another type, give what stands for it: a field, a name, or a number by `as u64`"
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

impl LabelValue for String {
    #[inline(always)]
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        with(self)
    }
}

macro_rules! label_through {
    ($($pointer:ty),*) => {$(
        impl<T: LabelValue + ?Sized> LabelValue for $pointer {
            #[inline(always)]
            fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
                T::with_label(self, with)
            }
        }
    )*};
}
label_through!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

impl<T: LabelValue + ToOwned + ?Sized> LabelValue for Cow<'_, T> {
    #[inline(always)]
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        T::with_label(self, with)
    }
}

impl LabelValue for bool {
    #[inline]
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        with(if *self { "true" } else { "false" })
    }
}

impl LabelValue for char {
    #[inline]
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        with(self.encode_utf8(&mut [0; 4]))
    }
}

macro_rules! label_number {
    ($($unsigned:ty, $signed:ty);*) => {$(
        impl LabelValue for $unsigned {
            #[inline]
            fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
                with_decimal(false, *self as u128, with)
            }
        }
        impl LabelValue for $signed {
            #[inline]
            fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
                with_decimal(*self < 0, self.unsigned_abs() as u128, with)
            }
        }
        label_nonzero!($unsigned, $signed);
    )*};
}
macro_rules! label_nonzero {
    ($($number:ty),*) => {$(
        impl LabelValue for NonZero<$number> {
            #[inline]
            fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
                self.get().with_label(with)
            }
        }
    )*};
}
label_number!(u8, i8; u16, i16; u32, i32; u64, i64; u128, i128; usize, isize);

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

macro_rules! label_address {
    ($($address:ty),*) => {$(
        impl LabelValue for $address {
            #[inline]
            fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
                let mut text = AddressText::default();
                // The longest one fits.
                let _ = write!(text, "{self}");
                with(text.as_str())
            }
        }
    )*};
}
label_address!(IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6);

/// What `SocketAddrV6` writes at most: `[`, 8 groups of 4 digits, `%`, 10 digits, `]:`, 5 digits.
const LONGEST_ADDRESS: usize = 1 + 8 * 5 - 1 + 1 + 10 + 2 + 5;

/// Room for the text of an address.
struct AddressText {
    bytes: [u8; LONGEST_ADDRESS],
    len: usize,
}

impl Default for AddressText {
    fn default() -> Self {
        Self { bytes: [0; LONGEST_ADDRESS], len: 0 }
    }
}

impl AddressText {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for AddressText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(feature = "uuid")]
impl LabelValue for uuid::Uuid {
    #[inline]
    fn with_label<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        with(self.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It labels as `std` writes it.
    fn reads(value: impl LabelValue + ToString) {
        value.with_label(|text| assert_eq!(text, value.to_string()));
    }

    #[test]
    fn numbers_read_as_std_writes_them() {
        [0, 7, -1, i64::MIN, i64::MAX].into_iter().for_each(reads);
        [0, 7, -1, i128::MIN, i128::MAX].into_iter().for_each(reads);
        [i8::MIN, i8::MAX].into_iter().for_each(reads);
        reads(u128::MAX);
        reads(u64::MAX);
        [NonZero::<i64>::MIN, NonZero::<i64>::MAX].into_iter().for_each(reads);
        reads(NonZero::<u128>::MAX);
    }

    #[test]
    fn truth_characters_and_addresses_read_as_std_writes_them() {
        [true, false].into_iter().for_each(reads);
        ['a', 'ä', '\u{10ffff}'].into_iter().for_each(reads);
        for text in ["127.0.0.1", "255.255.255.255", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            reads(text.parse::<IpAddr>().unwrap());
        }
        // The longest forms that `std` has for addresses.
        reads(Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0xc0a8, 0xffff]));
        reads(SocketAddr::from(([255; 4], u16::MAX)));
        let longest = SocketAddrV6::new(Ipv6Addr::from([0xff; 16]), u16::MAX, u32::MAX, u32::MAX);
        assert_eq!(longest.to_string().len(), LONGEST_ADDRESS);
        reads(longest);
    }

    #[cfg(feature = "uuid")]
    #[test]
    fn a_uuid_reads_in_lower_case_with_hyphens() {
        [uuid::Uuid::nil(), uuid::Uuid::max(), uuid::Uuid::from_u128(0x1234_5678_9abc_def0)]
            .into_iter()
            .for_each(reads);
    }

    #[test]
    fn pointers_read_as_what_they_point_to() {
        [&mut String::from("a"), &mut String::new()].into_iter().for_each(reads);
        reads(Box::<str>::from("a"));
        reads(Rc::<str>::from("a"));
        reads(Arc::<str>::from("a"));
        reads(Arc::new(7));
        [Cow::Borrowed("a"), Cow::Owned("b".into())].into_iter().for_each(reads);
        reads(Cow::<u64>::Owned(7));
    }

    #[test]
    fn absence_is_empty() {
        None::<&str>.with_label(|text| assert_eq!(text, ""));
        None::<IpAddr>.with_label(|text| assert_eq!(text, ""));
        Some(&String::from("a")).with_label(|text| assert_eq!(text, "a"));
        Some(Some(true)).with_label(|text| assert_eq!(text, "true"));
    }
}
