//! What a request asks for, from its query string. Everything here comes from outside.

use std::time::Duration;

use stagelight::{Column, LabelKind, Mode};

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
    /// `past=`: what was sampled in the last so many seconds.
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
const ROWS: std::ops::RangeInclusive<usize> = 1..=10_000;

/// Which stages shall be recorded how.
#[derive(Clone, Debug, PartialEq)]
pub struct ModeParams {
    /// `stage=`: a pattern.
    pub stage: String,
    /// `mode=`
    pub mode: Mode,
}

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

/// How the heap shall be sampled; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeapParams {
    /// `lg_sample=`: one in two to the power of this many bytes, or not at all.
    pub lg_sample: Option<Option<u32>>,
    /// `focus=`: the label and the value that stacks are taken of, or of all.
    pub focus: Option<Option<(String, String)>>,
}

/// Reads the query string of a request that switches the heap's sampling.
///
/// # Errors
/// A sentence that names what is allowed.
pub fn parse_heap(query: &str) -> Result<HeapParams, String> {
    let mut params = HeapParams::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("lg_sample", "off") => params.lg_sample = Some(None),
            ("lg_sample", rate) => {
                let rate = rate.parse().map_err(|_| {
                    format!("lg_sample={}: lg_sample must be a whole number or off", short(rate))
                })?;
                params.lg_sample = Some(Some(rate));
            }
            ("focus", "off") => params.focus = Some(None),
            ("focus", focus) => {
                let (label, value) = focus.split_once(':').ok_or_else(|| {
                    format!(
                        "focus={}: focus must be a label and its value, such as tenant:acme, or off",
                        short(focus)
                    )
                })?;
                params.focus = Some(Some((label.to_owned(), value.to_owned())));
            }
            _ => {}
        }
    }
    match params {
        HeapParams { lg_sample: None, focus: None } => {
            Err("nothing to switch: there are lg_sample=10 to 30 or off, and focus=tenant:acme or off".into())
        }
        params => Ok(params),
    }
}

/// Reads the query string of a request for queries.
///
/// # Errors
/// A sentence that names what is allowed.
pub fn parse_queries(query: &str) -> Result<QueriesParams, String> {
    let mut params =
        QueriesParams { kind: LabelKind::Statement, by: Column::TOTAL_NS, limit: 20, table: false };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let refuse = |allowed: &str| format!("{name}={}: {name} must be {allowed}", short(&value));
        match &*name {
            "kind" => {
                let known = LabelKind::ALL.into_iter().find(|kind| kind.name() == value);
                params.kind = known.ok_or_else(|| refuse("statement, tenant, user or database"))?;
            }
            "by" => {
                let allowed =
                    || Column::ALL.iter().map(|column| column.name()).collect::<Vec<_>>().join(", ");
                params.by =
                    Column::from_name(&value).ok_or_else(|| refuse(&format!("one of {}", allowed())))?;
            }
            "limit" => params.limit = limit(&value)?,
            "format" => {
                params.table = match &*value {
                    "json" => false,
                    "table" => true,
                    _ => return Err(refuse("json or table")),
                }
            }
            _ => {}
        }
    }
    Ok(params)
}

/// Reads the query string of a request that sets a mode.
///
/// # Errors
/// A sentence that names what is allowed.
pub fn parse_mode(query: &str) -> Result<ModeParams, String> {
    /// Longer than any stage's name.
    const LONGEST: usize = 512;
    let (mut stage, mut mode) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "stage" => stage = Some(value.into_owned()),
            "mode" => {
                let known = Mode::from_name(&value);
                mode = Some(known.ok_or_else(|| {
                    format!("mode={}: mode must be span, time, count or off", short(&value))
                })?);
            }
            _ => {}
        }
    }
    match (stage, mode) {
        (Some(stage), Some(mode)) if !stage.is_empty() && stage.len() <= LONGEST => {
            Ok(ModeParams { stage, mode })
        }
        (_, None) => Err("mode is missing: it must be span, time, count or off".into()),
        _ => Err(format!("stage must be a pattern of 1 to {LONGEST} bytes, such as storage::* or exec.?")),
    }
}

/// Reads a query string. Parameters that are not known are ignored, as Go's handlers do; of one that is given twice
/// the last counts.
///
/// # Errors
/// A sentence that names what is allowed.
pub fn parse(query: &str) -> Result<Params, String> {
    let mut params = Params::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "seconds" => params.seconds = Some(seconds("seconds", &value)?),
            // As people write it: 60 or 60s.
            "past" => params.past = Some(seconds("past", value.strip_suffix('s').unwrap_or(&value))?),
            "number" => {
                let number = value
                    .parse()
                    .map_err(|_| format!("number={}: number must be a whole number", short(&value)))?;
                params.number = Some(number);
            }
            "hz" => params.hz = Some(hz(&value)?),
            "format" => params.format = format(&value)?,
            "by" => params.by = labels(&value)?,
            "lines" => params.lines = flag("lines", &value)?,
            "kernel" => params.kernel = flag("kernel", &value)?,
            "sort" => {
                params.sort = match &*value {
                    "flat" => TopSort::Flat,
                    "cum" => TopSort::Cum,
                    _ => return Err(format!("sort={}: sort must be flat or cum", short(&value))),
                }
            }
            "limit" => params.limit = Some(limit(&value)?),
            name => {
                if let Some(label) = LABELS.into_iter().find(|label| *label == name) {
                    params.only.retain(|(known, _)| *known != label);
                    params.only.push((label, value.into_owned()));
                }
            }
        }
    }
    Ok(params)
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let range = crate::cpu::DURATION;
    value
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| range.contains(duration))
        .ok_or_else(|| {
            format!(
                "{name}={}: {name} must be a number of seconds from {} to {}",
                short(value),
                range.start().as_secs_f64(),
                range.end().as_secs_f64()
            )
        })
}

fn hz(value: &str) -> Result<u32, String> {
    let range = crate::cpu::HZ;
    value.parse().ok().filter(|hz| range.contains(hz)).ok_or_else(|| {
        format!("hz={}: hz must be a whole number from {} to {}", short(value), range.start(), range.end())
    })
}

fn limit(value: &str) -> Result<usize, String> {
    value.parse().ok().filter(|limit| ROWS.contains(limit)).ok_or_else(|| {
        let (least, most) = (ROWS.start(), ROWS.end());
        format!("limit={}: limit must be a whole number from {least} to {most}", short(value))
    })
}

fn format(value: &str) -> Result<Format, String> {
    let known = FORMATS.iter().find(|(name, _)| *name == value);
    known.map(|(_, format)| *format).ok_or_else(|| {
        let names: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
        format!("format={}: format must be one of {}", short(value), names.join(", "))
    })
}

fn flag(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(format!("{name}={}: {name} must be 0 or 1", short(value))),
    }
}

fn labels(value: &str) -> Result<Vec<&'static str>, String> {
    let known = |name: &str| {
        LABELS.into_iter().find(|label| *label == name).ok_or_else(|| {
            format!("by={}: by takes labels among {}, parted by commas", short(name), LABELS.join(", "))
        })
    };
    // Each root is a frame on every stack.
    if value.split(',').count() > LABELS.len() {
        return Err(format!("by: no more than {} labels can root a stack", LABELS.len()));
    }
    value.split(',').map(known).collect()
}

/// As much of a value as a sentence bears.
pub(super) fn short(value: &str) -> String {
    stagelight::export::table::shorten(value, 40)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_asked_for_is_read() {
        let query = "seconds=2.5&hz=999&format=svg&by=tenant,stage&tenant=b&tenant=a%20b&user=&lines=1&kernel=1&sort=cum&limit=7&debug=0&gc";
        let params = parse(query).unwrap();
        assert_eq!(
            params,
            Params {
                past: None,
                number: None,
                seconds: Some(Duration::from_millis(2500)),
                hz: Some(999),
                format: Format::Svg,
                by: vec!["tenant", "stage"],
                only: vec![("tenant", "a b".into()), ("user", String::new())],
                lines: true,
                kernel: true,
                sort: TopSort::Cum,
                limit: Some(7),
            }
        );
        assert_eq!(parse(""), Ok(Params::default()));
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
        assert!(parse("sort=name").unwrap_err().contains("flat or cum"));
        for limit in ["0", "10001", "-1", "all", ""] {
            assert!(parse(&format!("limit={limit}")).unwrap_err().contains("from 1 to 10000"));
        }
        assert!(parse("by=tenant,color").unwrap_err().contains("statement"));
        assert!(parse(&format!("hz={}", "9".repeat(1 << 20))).unwrap_err().len() < 200);
    }

    #[test]
    fn a_mode_and_its_stages_are_read_or_refused() {
        let params = parse_mode("stage=storage%3A%3A*&mode=count").unwrap();
        assert_eq!(params, ModeParams { stage: "storage::*".into(), mode: Mode::Count });
        assert!(parse_mode("stage=a").unwrap_err().contains("time, count or off"));
        assert!(parse_mode("stage=a&mode=loud").unwrap_err().contains("time, count or off"));
        for stage in ["", "stage=", &format!("stage={}", "x".repeat(600))] {
            assert!(parse_mode(&format!("{stage}&mode=off")).unwrap_err().contains("pattern"));
        }
    }

    #[test]
    fn how_the_heap_is_sampled_is_read_or_refused() {
        let focus = |label: &str, value: &str| Some(Some((label.to_owned(), value.to_owned())));
        for (query, expected) in [
            ("lg_sample=17", HeapParams { lg_sample: Some(Some(17)), focus: None }),
            ("lg_sample=off&focus=off", HeapParams { lg_sample: Some(None), focus: Some(None) }),
            ("focus=tenant%3Aa%3Ab", HeapParams { lg_sample: None, focus: focus("tenant", "a:b") }),
        ] {
            assert_eq!(parse_heap(query), Ok(expected));
        }
        for (query, allowed) in
            [("", "10 to 30"), ("lg_sample=x", "whole number"), ("focus=acme", "tenant:acme")]
        {
            assert!(parse_heap(query).unwrap_err().contains(allowed));
        }
    }

    #[test]
    fn queries_are_asked_for_by_any_column() {
        let params = parse_queries("kind=tenant&by=p99_ns&limit=3&format=table&x=y").unwrap();
        let expected = QueriesParams { kind: LabelKind::Tenant, by: Column::P99_NS, limit: 3, table: true };
        assert_eq!(params, expected);
        for column in Column::ALL {
            assert_eq!(parse_queries(&format!("by={}", column.name())).unwrap().by, *column);
        }
        for (query, allowed) in [
            ("by=colour", "total_ns"),
            ("limit=0", "1 to 10000"),
            ("limit=x", "1 to"),
            ("kind=a", "tenant"),
            ("format=svg", "table"),
        ] {
            assert!(parse_queries(query).unwrap_err().contains(allowed));
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(query in any::<String>()) {
            let _ = parse(&query);
            let _ = parse_mode(&query);
            let _ = parse_heap(&query);
            let _ = parse_queries(&query);
        }

        #[test]
        fn whatever_is_accepted_is_in_range(query in "(seconds|hz|by|lines|format|tenant)=[-+0-9a-z.,%]{0,12}(&(seconds|hz)=[0-9.e]{0,9})?") {
            if let Ok(params) = parse(&query) {
                prop_assert!(params.seconds.is_none_or(|seconds| crate::cpu::DURATION.contains(&seconds)));
                prop_assert!(params.hz.is_none_or(|hz| crate::cpu::HZ.contains(&hz)));
            }
        }
    }
}
