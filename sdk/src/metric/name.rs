//! Which names Prometheus takes.

/// What our own metrics start with.
const RESERVED_PREFIX: &[u8] = b"stagelight_";

/// Labels with a meaning of their own.
const RESERVED_LABELS: [&str; 3] = ["component", "le", "quantile"];

/// Refuses a metric's name, at compile time in a `static`.
pub(super) const fn check_name(name: &str) {
    assert!(
        is_name(name),
        "a metric's name is made of letters, digits, `_` and `:`, and starts with no digit"
    );
    assert!(!is_reserved(name), "names that start with `stagelight_` are Stagelight's own");
}

/// Refuses label names, at compile time in a `static`.
pub(super) const fn check_labels(labels: &[&str], max: usize) {
    assert!(!labels.is_empty() && labels.len() <= max, "a family has one to eight labels");
    let mut index = 0;
    while index < labels.len() {
        let label = labels[index];
        assert!(
            is_label(label),
            "a label's name is made of letters, digits and `_`, starts with no digit and no `__`, and is not \
             `component`, `le` or `quantile`"
        );
        let mut other = 0;
        while other < index {
            assert!(!same(label, labels[other]), "a family's labels have different names");
            other += 1;
        }
        index += 1;
    }
}

const fn is_name(name: &str) -> bool {
    is_made_of(name.as_bytes(), true)
}

pub(super) const fn is_reserved(name: &str) -> bool {
    starts_with(name.as_bytes(), RESERVED_PREFIX)
}

const fn is_label(name: &str) -> bool {
    let mut index = 0;
    while index < RESERVED_LABELS.len() {
        if same(name, RESERVED_LABELS[index]) {
            return false;
        }
        index += 1;
    }
    is_made_of(name.as_bytes(), false) && !starts_with(name.as_bytes(), b"__")
}

const fn is_made_of(name: &[u8], colon: bool) -> bool {
    let mut index = 0;
    while index < name.len() {
        let byte = name[index];
        let fits = byte.is_ascii_alphabetic()
            || byte == b'_'
            || (colon && byte == b':')
            || (index > 0 && byte.is_ascii_digit());
        if !fits {
            return false;
        }
        index += 1;
    }
    !name.is_empty()
}

const fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    text.len() >= prefix.len() && equal(text.split_at(prefix.len()).0, prefix)
}

const fn same(one: &str, other: &str) -> bool {
    equal(one.as_bytes(), other.as_bytes())
}

const fn equal(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    one.len() == other.len()
}

/// A metric's name from elsewhere as one that we take: other characters become `_`.
#[cfg(any(test, feature = "metrics"))]
pub(crate) fn sanitized_name(name: &str) -> String {
    let mut fitting = replaced(name, true);
    if is_reserved(&fitting) {
        fitting.insert(0, '_');
    }
    fitting
}

/// A label's name from elsewhere as one that we take.
#[cfg(any(test, feature = "metrics"))]
pub(crate) fn sanitized_label(name: &str) -> String {
    let mut fitting = replaced(name, false);
    if starts_with(fitting.as_bytes(), b"__") {
        fitting.insert_str(0, "label");
    }
    if !is_label(&fitting) {
        fitting.push('_');
    }
    fitting
}

#[cfg(any(test, feature = "metrics"))]
fn replaced(name: &str, colon: bool) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    let mut fitting: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if fitting.chars().next().is_none_or(|c| c.is_ascii_digit()) {
        fitting.insert(0, '_');
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_told_apart() {
        assert!(is_name("rows_total") && is_name("job:rows:rate5m") && is_name("_x9"));
        assert!(!is_name("") && !is_name("9x") && !is_name("a-b") && !is_name("größe"));
        assert!(is_label("shard") && !is_label("a:b") && !is_label("__name__") && !is_label("le"));
    }

    #[test]
    #[should_panic(expected = "different names")]
    fn a_label_stands_once() {
        check_labels(&["a", "b", "a"], 8);
    }

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        #[test]
        fn what_is_sanitized_fits(name in prop_oneof![
            any::<String>(), "[a-z_.]{0,12}", Just("le".to_owned()), Just("stagelight_x".to_owned()), Just("__".to_owned()),
        ]) {
            check_name(&sanitized_name(&name));
            prop_assert!(is_label(&sanitized_label(&name)), "{}", sanitized_label(&name));
        }
    }
}
