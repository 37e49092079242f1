//! What `/api/v1/queries` takes.

use stagelight::{Column, LabelKind};

use super::profile::ROWS;
use super::table::{Parameter, Parameters, one_of, whole};

/// Which queries are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueriesParams {
    /// `kind=`: by which label; statements unless said.
    pub kind: LabelKind,
    /// `by=`: most of what first; time unless said.
    pub by: Column,
    /// `limit=`: how many; 20 unless said.
    pub limit: usize,
    /// `format=table` instead of JSON.
    pub table: bool,
}

impl Default for QueriesParams {
    fn default() -> Self {
        Self { kind: LabelKind::Statement, by: Column::SELF_NS, limit: 20, table: false }
    }
}

type Row = Parameter<QueriesParams>;

/// `/api/v1/queries`
pub static QUERIES: Parameters<QueriesParams> = Parameters::any(&[&[
    Row {
        name: "kind",
        read: |params, _, value| {
            params.kind = one_of(&LabelKind::ALL.map(|kind| (kind.name(), kind)), value)?;
            Ok(())
        },
    },
    Row {
        name: "by",
        read: |params, _, value| {
            let columns: Vec<_> = Column::ALL.iter().map(|column| (column.name(), *column)).collect();
            params.by = one_of(&columns, value)?;
            Ok(())
        },
    },
    Row {
        name: "limit",
        read: |params, _, value| {
            params.limit = whole(ROWS, value)? as usize;
            Ok(())
        },
    },
    Row {
        name: "format",
        read: |params, _, value| {
            params.table = one_of(&[("json", false), ("table", true)], value)?;
            Ok(())
        },
    },
]]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_asked_for_by_any_column() {
        let params = QUERIES.parse("kind=tenant&by=p99_ns&limit=3&format=table").unwrap();
        let expected = QueriesParams { kind: LabelKind::Tenant, by: Column::P99_NS, limit: 3, table: true };
        assert_eq!(params, expected);
        for column in Column::ALL {
            assert_eq!(QUERIES.parse(&format!("by={}", column.name())).unwrap().by, *column);
        }
        for (query, allowed) in [
            ("by=colour", "self_ns"),
            ("limit=0", "1 to 10000"),
            ("limit=x", "1 to"),
            ("kind=a", "tenant"),
            ("format=svg", "table"),
            ("tenant=a", "kind, by, limit, format"),
        ] {
            assert!(QUERIES.parse(query).unwrap_err().contains(allowed));
        }
    }
}
