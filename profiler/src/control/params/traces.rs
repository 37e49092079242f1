//! What `/api/v1/traces` takes.

use stagelight::{LabelKind, TraceFilter};

use super::duration::time;
use super::table::{Parameter, Parameters, flag, one_of, whole};

/// Which traces are asked for, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct TracesParams {
    /// `tenant=`, `statement=`, `user=`, `database=`, `min_ms=`, `failed=1` and `limit=`, 50 unless
    /// said.
    pub filter: TraceFilter,
    /// `format=chrome` instead of JSON.
    pub chrome: bool,
}

impl Default for TracesParams {
    fn default() -> Self {
        Self { filter: TraceFilter { limit: 50, ..TraceFilter::default() }, chrome: false }
    }
}

type Row = Parameter<TracesParams>;

const fn label(name: &'static str) -> Row {
    Row {
        name,
        read: |params, name, value| {
            if let Some(kind) = LabelKind::ALL.into_iter().find(|kind| kind.name() == name) {
                params.filter.labels[kind as usize] = Some(value.to_owned());
            }
            Ok(())
        },
    }
}

/// `/api/v1/traces`
pub static TRACES: Parameters<TracesParams> = Parameters::any(&[&[
    label("tenant"),
    label("statement"),
    label("user"),
    label("database"),
    Row {
        name: "min_ms",
        read: |params, _, value| {
            params.filter.min = time(value, "ms").ok_or("a number of milliseconds, such as 20 or 0.5")?;
            Ok(())
        },
    },
    Row {
        name: "failed",
        read: |params, _, value| {
            params.filter.failed = flag(value)?;
            Ok(())
        },
    },
    Row {
        name: "limit",
        read: |params, _, value| {
            params.filter.limit = whole(1..=10_000, value)? as usize;
            Ok(())
        },
    },
    Row {
        name: "format",
        read: |params, _, value| {
            params.chrome = one_of(&[("json", false), ("chrome", true)], value)?;
            Ok(())
        },
    },
]]);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn traces_are_asked_for_by_label_length_and_failure() {
        let params = TRACES.parse("tenant=a%20b&user=&min_ms=2.5&failed=1&limit=3&format=chrome").unwrap();
        let filter =
            TraceFilter { min: Duration::from_micros(2_500), failed: true, limit: 3, ..Default::default() };
        let filter = filter.with(LabelKind::Tenant, "a b").with(LabelKind::User, "");
        assert_eq!(params, TracesParams { filter, chrome: true });
        assert_eq!(TRACES.parse("").unwrap().filter.limit, 50);
        for (query, allowed) in [
            ("min_ms=soon", "milliseconds"),
            ("failed=yes", "0 or 1"),
            ("limit=0", "1 to 10000"),
            ("tennant=a", "Did you mean tenant?"),
        ] {
            assert!(TRACES.parse(query).unwrap_err().contains(allowed));
        }
    }
}
