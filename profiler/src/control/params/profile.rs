//! What the paths that give profiles take.

use std::time::Duration;

use super::duration::duration;
use super::table::{Parameter, Parameters, flag, one_of, short, whole};
use crate::profile::LABELS;
use crate::render::TopSort;

/// The form in which a profile is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// gzipped pprof.
    #[default]
    Pprof,
    /// A flame graph.
    Svg,
    /// A flame graph upside down.
    Icicle,
    /// Folded stacks.
    Folded,
    /// Tables of labels and functions as text.
    Top,
    /// JSON for speedscope.
    Speedscope,
    /// JSON for the Firefox Profiler.
    Firefox,
}

/// All forms by their names.
const FORMATS: [(&str, Format); 7] = [
    ("pprof", Format::Pprof),
    ("svg", Format::Svg),
    ("icicle", Format::Icicle),
    ("folded", Format::Folded),
    ("top", Format::Top),
    ("speedscope", Format::Speedscope),
    ("firefox", Format::Firefox),
];

/// The parameters of a profile; absent ones are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// `seconds=`
    pub seconds: Option<Duration>,
    /// `past=`: what was sampled in that time until now.
    pub past: Option<Duration>,
    /// `number=`: of a profile that was kept.
    pub number: Option<u64>,
    /// `hz=`
    pub hz: Option<u32>,
    /// `format=`
    pub format: Format,
    /// `by=`: labels that root the stacks, outermost first.
    pub by: Vec<&'static str>,
    /// `tenant=`, `stage=` and so on: labels and the values that samples must have; an empty one stands for none.
    pub only: Vec<(&'static str, String)>,
    /// `lines=`: whether to give files, lines and inlined functions.
    pub lines: bool,
    /// `kernel=`: whether to give the functions of the kernel.
    pub kernel: bool,
    /// `sort=`: what the functions of `format=top` are sorted by.
    pub sort: TopSort,
    /// `limit=`: rows in each table of `format=top`.
    pub limit: Option<usize>,
}

/// Rows that a table may have.
pub(super) const ROWS: std::ops::RangeInclusive<u64> = 1..=10_000;

type Row = Parameter<Params>;

const SECONDS: &[Row] = &[Row {
    name: "seconds",
    read: |params, _, value| {
        params.seconds = Some(duration(value)?);
        Ok(())
    },
}];

const PAST: &[Row] = &[Row {
    name: "past",
    read: |params, _, value| {
        params.past = Some(duration(value)?);
        Ok(())
    },
}];

const HZ: &[Row] = &[Row {
    name: "hz",
    read: |params, _, value| {
        let range = u64::from(*crate::cpu::HZ.start())..=u64::from(*crate::cpu::HZ.end());
        params.hz = Some(whole(range, value)? as u32);
        Ok(())
    },
}];

const KERNEL: &[Row] = &[Row {
    name: "kernel",
    read: |params, _, value| {
        params.kernel = flag(value)?;
        Ok(())
    },
}];

const NUMBER: &[Row] = &[Row {
    name: "number",
    read: |params, _, value| {
        params.number = Some(value.parse().map_err(|_| "a whole number")?);
        Ok(())
    },
}];

/// What is shown of a profile, and how.
const SHOWN: &[Row] = &[
    Row {
        name: "format",
        read: |params, _, value| {
            params.format = one_of(&FORMATS, value)?;
            Ok(())
        },
    },
    Row {
        name: "by",
        read: |params, _, value| {
            params.by = labels(value)?;
            Ok(())
        },
    },
    Row {
        name: "lines",
        read: |params, _, value| {
            params.lines = flag(value)?;
            Ok(())
        },
    },
    Row {
        name: "sort",
        read: |params, _, value| {
            params.sort = one_of(&[("flat", TopSort::Flat), ("cum", TopSort::Cum)], value)?;
            Ok(())
        },
    },
    Row {
        name: "limit",
        read: |params, _, value| {
            params.limit = Some(whole(ROWS, value)? as usize);
            Ok(())
        },
    },
    Row {
        // As people who are used to Go's handlers ask for pprof. Other values stand for texts of Go's own.
        name: "debug",
        read: |_, _, value| match value {
            "0" => Ok(()),
            _ => Err("0; for people there are format=top and format=folded".into()),
        },
    },
];

/// A parameter for each label.
const ONLY: &[Row] = &{
    const LABEL: Row = Row {
        name: "",
        read: |params, label, value| {
            params.only.push((label, value.to_owned()));
            Ok(())
        },
    };
    let mut rows = [LABEL; LABELS.len()];
    let mut index = 0;
    while index < LABELS.len() {
        rows[index].name = LABELS[index];
        index += 1;
    }
    rows
};

/// `/debug/pprof/profile`
pub static CPU: Parameters<Params> =
    Parameters::checked(&[SECONDS, PAST, HZ, KERNEL, SHOWN, ONLY], |params| {
        let taken = params.seconds.is_some() || params.hz.is_some() || params.kernel;
        match params.past {
            Some(_) if taken => Err("past shows what was sampled already: seconds, hz and kernel don't go \
                                     together with it"
                .into()),
            _ => shown(params),
        }
    });
/// `/debug/pprof/wall`
pub static WALL: Parameters<Params> = Parameters::checked(&[SECONDS, HZ, SHOWN, ONLY], shown);
/// All other profiles of some time.
pub static TIMED: Parameters<Params> = Parameters::checked(&[SECONDS, SHOWN, ONLY], shown);
/// `/debug/pprof/kept`
pub static KEPT: Parameters<Params> = Parameters::checked(&[NUMBER, SHOWN, ONLY], shown);
/// Figures of some time.
pub static FIGURES: Parameters<Params> = Parameters::any(&[SECONDS]);

/// What would be without effect is an error.
fn shown(params: &Params) -> Result<(), String> {
    let of_tables = params.sort != TopSort::default() || params.limit.is_some();
    if of_tables && params.format != Format::Top {
        return Err("sort and limit are of tables: they want format=top".into());
    }
    Ok(())
}

fn labels(value: &str) -> Result<Vec<&'static str>, String> {
    let mut labels = Vec::new();
    for name in value.split(',') {
        let known = LABELS.into_iter().find(|label| *label == name);
        let label = known.ok_or_else(|| {
            format!("labels among {}, parted by commas; {} is none", LABELS.join(", "), short(name))
        })?;
        // Each root is a frame on every stack.
        if labels.contains(&label) {
            return Err(format!("labels, each of them once; {label} is there twice"));
        }
        labels.push(label);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(query: &str) -> Result<Params, String> {
        CPU.parse(query)
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let query = "seconds=2.5&hz=999&format=top&by=tenant,stage&tenant=a%20b&user=&lines=1&kernel=1&sort=cum&limit=7&debug=0";
        let params = parse(query).unwrap();
        assert_eq!(
            params,
            Params {
                past: None,
                number: None,
                seconds: Some(Duration::from_millis(2500)),
                hz: Some(999),
                format: Format::Top,
                by: vec!["tenant", "stage"],
                only: vec![("tenant", "a b".into()), ("user", String::new())],
                lines: true,
                kernel: true,
                sort: TopSort::Cum,
                limit: Some(7),
            }
        );
        assert_eq!(parse(""), Ok(Params::default()));
        for label in LABELS {
            assert_eq!(TIMED.parse(&format!("{label}=x")).unwrap().only, [(label, "x".to_owned())]);
        }
    }

    #[test]
    fn errors_name_the_range() {
        for seconds in ["0", "-1", "nan", "inf", "1e300", "3601", "", "ten", "0.001"] {
            let error = parse(&format!("seconds={seconds}")).unwrap_err();
            assert!(error.contains("from 0.01 to 3600"), "{error}");
        }
        for hz in ["0", "5000", "-1", "1.5", "99999999999999999999"] {
            let error = parse(&format!("hz={hz}")).unwrap_err();
            assert!(error.contains("from 1 to 4999"), "{error}");
        }
        let error = parse("format=png").unwrap_err();
        assert!(FORMATS.iter().all(|(name, _)| error.contains(name)), "{error}");
        for flag in ["lines", "kernel"] {
            assert!(parse(&format!("{flag}=yes")).unwrap_err().contains(&format!("{flag} must be 0 or 1")));
        }
        assert!(parse("sort=name").unwrap_err().contains("flat, cum"));
        for limit in ["0", "10001", "-1", "all", ""] {
            assert!(parse(&format!("limit={limit}")).unwrap_err().contains("from 1 to 10000"));
        }
        assert!(parse("by=tenant,color").unwrap_err().contains("statement"));
        assert!(parse("by=tenant,tenant").unwrap_err().contains("tenant is there twice"));
        assert!(parse("debug=1").unwrap_err().contains("format=top"));
        assert!(parse(&format!("hz={}", "9".repeat(1 << 20))).unwrap_err().len() < 200);
    }

    #[test]
    fn what_a_path_does_not_take_is_refused() {
        for (table, query) in [
            (&CPU, "number=1"),
            (&WALL, "kernel=1"),
            (&TIMED, "hz=99"),
            (&TIMED, "past=60s"),
            (&KEPT, "seconds=1"),
            (&FIGURES, "format=svg"),
        ] {
            let error = table.parse(query).unwrap_err();
            assert!(error.contains("is no parameter of this path"), "{query}: {error}");
        }
        for query in ["past=60s&seconds=1", "past=60s&hz=99", "kernel=1&past=60s"] {
            assert!(parse(query).unwrap_err().contains("don't go together"), "{query}");
        }
        for query in ["limit=7", "sort=cum", "format=svg&sort=cum"] {
            assert!(TIMED.parse(query).unwrap_err().contains("format=top"), "{query}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused_in_one_sentence(query in any::<String>()) {
            if let Err(sentence) = parse(&query) {
                prop_assert!(sentence.len() < 500 && sentence.lines().count() == 1, "{sentence:?}");
            }
        }

        #[test]
        fn whatever_is_accepted_is_in_range(
            query in "(seconds|hz|by|lines|format|tenant)=[-+0-9a-z.,%]{0,12}(&(past|hz)=[0-9.e]{0,9}(s|ms|m|h)?)?"
        ) {
            if let Ok(params) = parse(&query) {
                prop_assert!(params.seconds.is_none_or(|seconds| crate::cpu::DURATION.contains(&seconds)));
                prop_assert!(params.past.is_none_or(|past| crate::cpu::DURATION.contains(&past)));
                prop_assert!(params.hz.is_none_or(|hz| crate::cpu::HZ.contains(&hz)));
            }
        }
    }
}
