//! What `/api/v1/mode` takes.

use stagelight::Mode;

use super::table::{Parameter, Parameters};

/// Which stages shall be recorded how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModeParams {
    /// `stage=`: a pattern.
    pub stage: String,
    /// `mode=`, without which nothing is accepted.
    pub mode: Option<Mode>,
}

/// Longer than any stage's name.
const LONGEST: usize = 512;

const MODES: &str = "span, time, count or off";

type Row = Parameter<ModeParams>;

/// `/api/v1/mode`
pub static MODE: Parameters<ModeParams> = Parameters::checked(
    &[&[
        Row {
            name: "stage",
            read: |params, _, value| {
                params.stage = value.to_owned();
                pattern(value)
            },
        },
        Row {
            name: "mode",
            read: |params, _, value| {
                params.mode = Some(Mode::from_name(value).ok_or(MODES)?);
                Ok(())
            },
        },
    ]],
    |params| match params.mode {
        None => Err(format!("mode is missing: it must be {MODES}")),
        Some(_) => pattern(&params.stage).map_err(|right| format!("stage is missing: it must be {right}")),
    },
);

fn pattern(stage: &str) -> Result<(), String> {
    match stage.len() {
        1..=LONGEST => Ok(()),
        _ => Err(format!("a pattern of 1 to {LONGEST} bytes, such as storage::* or exec.?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_and_its_stages_are_read_or_refused() {
        let params = MODE.parse("stage=storage%3A%3A*&mode=count").unwrap();
        assert_eq!(params, ModeParams { stage: "storage::*".into(), mode: Some(Mode::Count) });
        assert!(MODE.parse("stage=a").unwrap_err().contains("time, count or off"));
        assert!(MODE.parse("stage=a&mode=loud").unwrap_err().contains("time, count or off"));
        for stage in ["", "&stage=", &format!("&stage={}", "x".repeat(600))] {
            assert!(MODE.parse(&format!("mode=off{stage}")).unwrap_err().contains("pattern"));
        }
        assert!(MODE.parse("stages=*&mode=off").unwrap_err().contains("Did you mean stage?"));
    }
}
