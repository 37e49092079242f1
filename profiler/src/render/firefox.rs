//! The processed profile format of the Firefox Profiler, <https://profiler.firefox.com>.
//! Source: its `src/types/profile.ts` and `docs-developer/CHANGELOG-formats.md`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use stagelight::export::readable;

use super::frame_name::FrameName;
use super::units::Unit;
use crate::profile::Profile;
use crate::symbolize::Frame;

/// The version of the format that is written. The profiler reads all that are older than itself.
const VERSION: u32 = 57;

/// The version of the browser's own format that belongs to it.
const GECKO_VERSION: u32 = 31;

impl Profile {
    /// Writes JSON for the Firefox Profiler: one track, its samples weighed by milliseconds or bytes. What a sample holds is
    /// a sum, so its place on the track's time axis says nothing.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_firefox(&self, mut out: impl Write) -> io::Result<()> {
        let mut tables = Tables::default();
        let (mut stacks, mut weights, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let mut time = 0.0;
        for sample in &self.samples {
            let value = sample.values[1];
            let weight = match self.kind.unit() {
                Unit::Nanoseconds => json!(value as f64 / 1e6),
                Unit::Bytes => json!(value),
            };
            stacks.push(
                self.frames(sample).rev().fold(None, |caller, frame| Some(tables.stack(caller, frame))),
            );
            weights.push(weight);
            times.push(time);
            time += match self.kind.unit() {
                Unit::Nanoseconds => value.unsigned_abs() as f64 / 1e6,
                Unit::Bytes => 1.0,
            };
        }
        let weight_type = match self.kind.unit() {
            Unit::Nanoseconds => "tracing-ms",
            Unit::Bytes => "bytes",
        };
        let samples = json!({
            "stack": stacks,
            "time": times,
            "weight": weights,
            "weightType": weight_type,
            "length": stacks.len(),
        });
        let thread = tables.thread(&self.title(), time, samples);
        let profile = json!({
            "meta": self.meta(),
            "libs": [],
            "shared": {"stringArray": tables.strings.list.iter().map(|text| readable(text)).collect::<Vec<_>>()},
            "threads": [thread],
        });
        serde_json::to_writer(&mut out, &profile)?;
        out.flush()
    }

    fn meta(&self) -> Value {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let started = self.stats.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let interval = match self.kind.unit() {
            Unit::Nanoseconds => self.stats.period as f64 / 1e6,
            Unit::Bytes => 1.0,
        };
        json!({
            "version": GECKO_VERSION,
            "preprocessedProfileVersion": VERSION,
            "product": "Stagelight",
            "importedFrom": format!("Stagelight: {}", self.subtitle_with_remarks()),
            "interval": interval,
            "startTime": ms(started).floor(),
            "processType": 0,
            "stackwalk": 1,
            "symbolicated": true,
            "usesOnlyOneStackType": true,
            "sourceCodeIsNotOnSearchfox": true,
            "markerSchema": [],
            "categories": [{"name": "Other", "color": "grey", "subcategories": ["Other"]}],
        })
    }
}

/// Strings, each once.
#[derive(Default)]
struct Strings<'a> {
    list: Vec<Cow<'a, str>>,
    index: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Strings<'a> {
    fn index(&mut self, text: Cow<'a, str>) -> usize {
        *self.index.entry(text).or_insert_with_key(|text| {
            self.list.push(text.clone());
            self.list.len() - 1
        })
    }
}

/// The format's tables: a stack is a frame and the stack of its caller, a frame a line in a function. As the profiler
/// shows functions and not frames, with lines each line is a function of its own, which is named so.
#[derive(Default)]
struct Tables<'a> {
    strings: Strings<'a>,
    /// Name and file.
    functions: Vec<(usize, Option<usize>)>,
    function_index: HashMap<(usize, Option<usize>), usize>,
    /// Function and line.
    frames: Vec<(usize, u32)>,
    frame_index: HashMap<(usize, u32), usize>,
    /// Caller's stack and frame.
    stacks: Vec<(Option<usize>, usize)>,
    stack_index: HashMap<(Option<usize>, usize), usize>,
}

/// The place of an item in a table, into which it is put if it is new.
fn place<T: Copy + Eq + std::hash::Hash>(
    table: &mut Vec<T>,
    index: &mut HashMap<T, usize>,
    item: T,
) -> usize {
    *index.entry(item).or_insert_with(|| {
        table.push(item);
        table.len() - 1
    })
}

impl<'a> Tables<'a> {
    fn stack(&mut self, caller: Option<usize>, frame: &'a Frame) -> usize {
        let file = (!frame.file.is_empty()).then(|| self.strings.index(frame.file.as_str().into()));
        let function = (self.strings.index(FrameName::of(frame).text()), file);
        let function = place(&mut self.functions, &mut self.function_index, function);
        let frame = place(&mut self.frames, &mut self.frame_index, (function, frame.line));
        place(&mut self.stacks, &mut self.stack_index, (caller, frame))
    }

    fn thread(&self, name: &str, end: f64, samples: Value) -> Value {
        let all = |length: usize, value: Value| Value::Array(vec![value; length]);
        let (functions, frames) = (self.functions.len(), self.frames.len());
        let line = |&(_, line): &(usize, u32)| (line > 0).then_some(line);
        json!({
            "name": name,
            "processType": "default",
            "processName": "Stagelight",
            "processStartupTime": 0,
            "processShutdownTime": end,
            "registerTime": 0,
            "unregisterTime": end,
            "pausedRanges": [],
            "isMainThread": true,
            "pid": "1",
            "tid": 1,
            "samples": samples,
            "markers": {
                "data": [], "name": [], "startTime": [], "endTime": [], "phase": [], "category": [], "length": 0,
            },
            "stackTable": {
                "frame": self.stacks.iter().map(|(_, frame)| frame).collect::<Vec<_>>(),
                "prefix": self.stacks.iter().map(|(caller, _)| caller).collect::<Vec<_>>(),
                "length": self.stacks.len(),
            },
            "frameTable": {
                // Addresses are for those who look up names, which are here already.
                "address": all(frames, json!(-1)),
                "inlineDepth": all(frames, json!(0)),
                "category": all(frames, json!(0)),
                "subcategory": all(frames, json!(0)),
                "func": self.frames.iter().map(|(function, _)| function).collect::<Vec<_>>(),
                "nativeSymbol": all(frames, Value::Null),
                "innerWindowID": all(frames, json!(0)),
                "line": self.frames.iter().map(line).collect::<Vec<_>>(),
                "column": all(frames, Value::Null),
                "length": frames,
            },
            "funcTable": {
                "name": self.functions.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                "isJS": all(functions, json!(false)),
                "relevantForJS": all(functions, json!(false)),
                "resource": all(functions, json!(-1)),
                "fileName": self.functions.iter().map(|(_, file)| file).collect::<Vec<_>>(),
                "lineNumber": all(functions, Value::Null),
                "columnNumber": all(functions, Value::Null),
                "length": functions,
            },
            "resourceTable": {"lib": [], "name": [], "host": [], "type": [], "length": 0},
            "nativeSymbols": {"libIndex": [], "address": [], "name": [], "functionSize": [], "length": 0},
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::tests::sample_profile;
    use crate::render::tests::golden_json;

    #[test]
    fn stacks_are_trees_of_callers_with_weights_in_milliseconds() {
        golden_json("firefox.json", |out| sample_profile().by_label("tenant").write_firefox(out));
    }
}
