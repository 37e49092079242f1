//! Filling in what a profile does not know of its addresses.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use stagelight_profiler::__pprof::proto::{Function, Line, Location, Mapping, Profile};
use stagelight_profiler::__pprof::{Frame, readable};

use crate::binary::Binary;

/// Fills in functions and lines of all locations in the mappings that one of the files is for, and says how many.
///
/// # Errors
/// If a file is for none of the mappings: the sentence names those that there are.
pub fn symbolize(profile: &mut Profile, binaries: &[Binary]) -> Result<String, String> {
    let mut names = Names::of(profile);
    let mut report = String::new();
    for binary in binaries {
        let same = |mapping: &Mapping| names.text(mapping.build_id).eq_ignore_ascii_case(&binary.build_id);
        let mappings: Vec<usize> =
            (0..profile.mapping.len()).filter(|&index| same(&profile.mapping[index])).collect();
        if mappings.is_empty() {
            return Err(no_mapping(profile, binary, &names));
        }
        for index in mappings {
            let mapping = &mut profile.mapping[index];
            let mut locations: Vec<&mut Location> =
                profile.location.iter_mut().filter(|location| location.mapping_id == mapping.id).collect();
            let addresses: Vec<u64> = locations.iter().map(|location| location.address).collect();
            let (frames, unread) = binary.frames(mapping, &addresses);
            let (mut named, mut with_lines) = (0, 0);
            for (location, frames) in
                locations.iter_mut().zip(&frames).filter(|(_, frames)| !frames.is_empty())
            {
                location.line = frames.iter().map(|frame| names.line(frame)).collect();
                named += 1;
                with_lines += usize::from(frames.iter().any(|frame| frame.line > 0));
                mapping.has_inline_frames |= frames.len() > 1;
            }
            mapping.has_functions |= named > 0;
            mapping.has_filenames |= with_lines > 0;
            mapping.has_line_numbers |= with_lines > 0;
            // A string's buffer takes all that is written to it.
            let _ = writeln!(
                report,
                "{}: {named} of {} addresses have names now, {with_lines} have lines",
                names.shown(mapping.filename),
                addresses.len()
            );
            for note in unread {
                let _ = writeln!(report, "{note}");
            }
        }
    }
    profile.function = names.functions;
    profile.string_table = names.strings;
    Ok(report)
}

fn no_mapping(profile: &Profile, binary: &Binary, names: &Names) -> String {
    let mut text = format!(
        "{} has the build id {}, and nothing in the profile has. There are:",
        binary.path.display(),
        binary.build_id
    );
    for mapping in &profile.mapping {
        let id = names.shown(mapping.build_id);
        let id = if id.is_empty() { "no build id" } else { &id };
        text += &format!("\n  {}: {id}", names.shown(mapping.filename));
    }
    text
}

/// The profile's strings and functions, each once.
struct Names {
    strings: Vec<String>,
    string_index: HashMap<String, i64>,
    functions: Vec<Function>,
    /// By name, linker's name and file.
    function_index: HashMap<[i64; 3], u64>,
    next_function: u64,
}

impl Names {
    fn of(profile: &Profile) -> Self {
        let (strings, functions) = (profile.string_table.clone(), profile.function.clone());
        Self {
            string_index: strings.iter().cloned().zip(0..).collect(),
            strings,
            function_index: functions.iter().map(|f| ([f.name, f.system_name, f.filename], f.id)).collect(),
            next_function: functions.iter().map(|f| f.id).max().unwrap_or(0) + 1,
            functions,
        }
    }

    /// The text of a number; empty for one that the profile has not.
    fn text(&self, string: i64) -> &str {
        usize::try_from(string).ok().and_then(|index| self.strings.get(index)).map_or("", String::as_str)
    }

    /// The same, to be shown: a profile is a file that anybody may have written.
    fn shown(&self, string: i64) -> Cow<'_, str> {
        readable(self.text(string))
    }

    fn string(&mut self, text: &str) -> i64 {
        // What reads the profile prints what stands there.
        let text = &*readable(text);
        if let Some(&index) = self.string_index.get(text) {
            return index;
        }
        let index = self.strings.len() as i64;
        self.strings.push(text.to_owned());
        self.string_index.insert(text.to_owned(), index);
        index
    }

    fn line(&mut self, frame: &Frame) -> Line {
        let names = [&frame.function, &frame.system_name, &frame.file].map(|name| self.string(name));
        let function_id = *self.function_index.entry(names).or_insert_with(|| {
            let [name, system_name, filename] = names;
            let id = self.next_function;
            self.next_function += 1;
            self.functions.push(Function { id, name, system_name, filename, start_line: 0 });
            id
        });
        Line { function_id, line: i64::from(frame.line), column: 0 }
    }
}
