//! What the unit tests share.

use proptest::test_runner::Config;

/// So many cases of a property. Miri, which takes a thousand times as long and has no files, gets a few.
pub(crate) fn cases(count: u32) -> Config {
    if cfg!(miri) {
        Config { cases: 2, failure_persistence: None, ..Config::default() }
    } else {
        Config::with_cases(count)
    }
}

/// A number of repetitions, or a thousandth of it under Miri.
pub(crate) const fn repetitions(count: u64) -> u64 {
    if cfg!(miri) { count.div_ceil(1000) } else { count }
}
