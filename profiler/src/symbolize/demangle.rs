//! The names that people wrote, of those that linkers use.

/// A function's name as it was written, without the hash that Rust adds. `None` if it is no mangled
/// name.
pub(super) fn demangle(name: &str) -> Option<String> {
    if let Ok(name) = rustc_demangle::try_demangle(name) {
        return Some(format!("{name:#}"));
    }
    if !name.starts_with("_Z") {
        return None;
    }
    cpp_demangle::Symbol::new(name).ok()?.demangle().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_manglings_are_read() {
        for (mangled, name) in [
            ("_ZN1t5outer17heb807da3dc021c64E", Some("t::outer")),
            (
                "_ZN4core3ptr46drop_in_place$LT$alloc..vec..Vec$LT$u8$GT$$GT$17h0123456789abcdefE",
                Some("core::ptr::drop_in_place<alloc::vec::Vec<u8>>"),
            ),
            ("_RNvMNtCsgEmfK2I1SDS_4core5sliceSh4iterCsjrHSEGnQ3l9_3std", Some("<[u8]>::iter")),
            ("_ZN3foo3barEi", Some("foo::bar(int)")),
            ("malloc", None),
            ("_Zzz", None),
            ("", None),
        ] {
            assert_eq!(demangle(mangled).as_deref(), name, "{mangled}");
        }
    }
}
