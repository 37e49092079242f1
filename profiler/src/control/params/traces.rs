//! What `/api/v1/traces` takes.

use super::table::{Parameter, Parameters, one_of};

/// Which traces are asked for, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracesParams {
    /// `format=chrome` instead of JSON.
    pub chrome: bool,
}

type Row = Parameter<TracesParams>;

/// `/api/v1/traces`
pub static TRACES: Parameters<TracesParams> = Parameters::any(&[&[Row {
    name: "format",
    read: |params, _, value| {
        params.chrome = one_of(&[("json", false), ("chrome", true)], value)?;
        Ok(())
    },
}]]);
