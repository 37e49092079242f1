//! Times, as people write them.

use std::time::Duration;

/// Units and how many milliseconds they are. Longer names first, for a unit is what a value ends in.
const UNITS: [(&str, f64); 4] = [("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0), ("h", 3_600_000.0)];

/// Reads a time of a profile: `30`, `30s`, `0.5`, `500ms`, `2m` or `1h`; a number alone is of seconds.
///
/// # Errors
/// What it must be.
pub(super) fn duration(value: &str) -> Result<Duration, String> {
    let range = crate::cpu::DURATION;
    time(value, "s").filter(|duration| range.contains(duration)).ok_or_else(|| {
        format!(
            "a number of seconds from {} to {}, or with a unit: 500ms, 30s, 2m, 1h",
            range.start().as_secs_f64(),
            range.end().as_secs_f64()
        )
    })
}

/// A time with its unit, or in the one that is meant where there is none.
pub(super) fn time(value: &str, meant: &str) -> Option<Duration> {
    let unit = UNITS.iter().find(|(unit, _)| value.ends_with(unit));
    let (number, unit) = match unit {
        Some((unit, _)) => (value.strip_suffix(unit)?, *unit),
        None => (value, meant),
    };
    let (_, ms) = UNITS.iter().find(|(known, _)| *known == unit)?;
    // Of all that a number may look like, such as 1e3 or inf, only digits and a point are a time's.
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * ms / 1_000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_same_with_and_without_its_unit() {
        for (value, ms) in [
            ("1", 1_000),
            ("1s", 1_000),
            ("0.5", 500),
            ("500ms", 500),
            (".5s", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("3600", 3_600_000),
        ] {
            assert_eq!(duration(value), Ok(Duration::from_millis(ms)), "{value}");
        }
        for value in
            ["", "s", "ms", "0", "-1", "+1", "1e2", "nan", "inf", "2h", "1 s", "1sec", "1ss", "0.001"]
        {
            assert!(duration(value).unwrap_err().contains("0.01 to 3600"), "{value}");
        }
        assert_eq!(time("20", "ms"), Some(Duration::from_millis(20)));
        assert_eq!(time("20s", "ms"), Some(Duration::from_secs(20)));
    }
}
