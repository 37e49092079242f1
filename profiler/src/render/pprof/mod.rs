//! pprof's `profile.proto`, gzipped, as `go tool pprof` reads it. Symbolized, so that no tool need ask for names.
//! Source: <https://github.com/google/pprof/blob/main/proto/profile.proto>.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use stagelight::export::readable;

use crate::profile::{Kind, LABELS, Location, Profile, Sample};
use crate::symbolize::Mapping;

pub mod proto;

impl Profile {
    /// Writes gzipped pprof. The labels become pprof's labels, for its `-tagfocus` and `-tagroot`; how the profile
    /// came about and what was dropped stand in its comments.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_pprof(&self, out: impl Write) -> io::Result<()> {
        let mut gzip = GzEncoder::new(out, Compression::fast());
        encode(self, &mut gzip)?;
        gzip.finish()?.flush()
    }
}

/// The string table. Its first entry is empty, as the format demands. Texts are as they may be
/// shown, for readers such as `go tool pprof` print what stands here.
struct Strings {
    table: Vec<String>,
    /// By the texts as they were given.
    index: HashMap<String, i64>,
}

impl Strings {
    fn new() -> Self {
        Self { table: vec![String::new()], index: HashMap::from([(String::new(), 0)]) }
    }

    fn id(&mut self, text: &str) -> i64 {
        if let Some(&id) = self.index.get(text) {
            return id;
        }
        let id = self.table.len() as i64;
        self.table.push(readable(text).into_owned());
        self.index.insert(text.to_owned(), id);
        id
    }
}

/// Samples go out one by one, for all of them at once take as much memory as the profile itself. A message's fields may come in
/// any order.
fn encode(profile: &Profile, out: &mut impl Write) -> io::Result<()> {
    let mut strings = Strings::new();
    let mut types = |kind: Kind| {
        kind.values()
            .map(|(name, unit)| proto::ValueType { r#type: strings.id(name), unit: strings.id(unit) })
    };
    let mut sample_type = types(profile.kind).to_vec();
    let primary = sample_type[1];
    sample_type.extend(profile.held.iter().flat_map(|_| types(Kind::Heap)));
    let mut mappings = Mappings::default();
    let (location, function) = locations(profile, &mut strings, &mut mappings);
    let mapping = mappings.encode(&mut strings);
    let comment = comments(profile).iter().map(|comment| strings.id(comment)).collect();
    let label_keys = LABELS.map(|label| strings.id(label));
    // A stack that both allocated and holds is there twice, each time with zeros for the other: readers add up.
    let nothing: &[i64] = if profile.held.is_some() { &[0, 0] } else { &[] };
    let taken = profile.samples.iter().map(|sample| (sample, [&sample.values, nothing].concat()));
    let held = profile.held.iter().flatten().map(|sample| (sample, [nothing, &sample.values].concat()));
    let mut sample = |(sample, value): (&Sample, Vec<i64>)| proto::Sample {
        location_id: sample.stack.iter().map(|&location| u64::from(location) + 1).collect(),
        value,
        label: label_keys
            .iter()
            .zip(sample.labels.iter())
            .filter(|(_, value)| !value.is_empty())
            .map(|(&key, value)| proto::Label { key, str: strings.id(value), ..proto::Label::default() })
            .collect(),
    };
    let mut bytes = Vec::new();
    for row in taken.chain(held) {
        // A message of nothing else.
        let part = proto::Profile { sample: vec![sample(row)], ..proto::Profile::default() };
        bytes.clear();
        part.encode(&mut bytes).map_err(io::Error::other)?;
        out.write_all(&bytes)?;
    }
    let stats = &profile.stats;
    let since_epoch = stats.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let rest = proto::Profile {
        default_sample_type: primary.r#type,
        period_type: Some(primary),
        sample_type,
        mapping,
        location,
        function,
        string_table: strings.table,
        time_nanos: since_epoch.as_nanos() as i64,
        duration_nanos: stats.duration.as_nanos() as i64,
        period: stats.period,
        comment,
        ..proto::Profile::default()
    };
    out.write_all(&rest.encode_to_vec())
}

/// The objects that locations lie in, and how much is known of each.
#[derive(Default)]
struct Mappings<'a> {
    list: Vec<(&'a Mapping, Known)>,
    index: HashMap<&'a Mapping, u64>,
}

/// How many locations of an object there are, and how many of them have a name, a file and inlined functions.
#[derive(Clone, Copy, Default)]
struct Known {
    all: usize,
    named: usize,
    lines: usize,
    inlined: usize,
}

impl<'a> Mappings<'a> {
    /// The number of a location's mapping; 0, which stands for none, for a label.
    fn id(&mut self, location: &'a Location) -> u64 {
        let Some(mapping) = location.mapping.as_deref() else { return 0 };
        let list = &mut self.list;
        let id = *self.index.entry(mapping).or_insert_with(|| {
            list.push((mapping, Known::default()));
            list.len() as u64
        });
        let known = &mut list[id as usize - 1].1;
        known.all += 1;
        known.named += usize::from(location.named);
        known.lines += usize::from(location.frames.iter().any(|frame| !frame.file.is_empty()));
        known.inlined += usize::from(location.frames.len() > 1);
        id
    }

    fn encode(&self, strings: &mut Strings) -> Vec<proto::Mapping> {
        // Readers look no further for the names of an object that has them: few, as a stripped program keeps for the
        // functions that it exports, are not enough.
        let mostly = |part: usize, all: usize| part * 2 >= all;
        let mapping = |((mapping, known), id): (&(&Mapping, Known), u64)| proto::Mapping {
            id,
            memory_start: mapping.range.start,
            memory_limit: mapping.range.end,
            file_offset: mapping.file_offset,
            filename: strings.id(&mapping.path),
            build_id: strings.id(&mapping.build_id),
            has_functions: mostly(known.named, known.all),
            has_filenames: mostly(known.lines, known.all),
            has_line_numbers: mostly(known.lines, known.all),
            has_inline_frames: known.inlined > 0,
        };
        self.list.iter().zip(1..).map(mapping).collect()
    }
}

fn locations<'a>(
    profile: &'a Profile,
    strings: &mut Strings,
    mappings: &mut Mappings<'a>,
) -> (Vec<proto::Location>, Vec<proto::Function>) {
    let mut functions: Vec<proto::Function> = Vec::new();
    let mut function_ids: HashMap<[i64; 3], u64> = HashMap::new();
    let mut line = |frame: &crate::symbolize::Frame| {
        // A reader that finds the same name twice takes it for one that is not demangled yet, and cuts
        // off what looks to it like the arguments of a template: so a second name stands there only if
        // the linker knows the function by another.
        let names = [&frame.function, &frame.system_name, &frame.file].map(|name| strings.id(name));
        let next = functions.len() as u64 + 1;
        let function_id = *function_ids.entry(names).or_insert_with(|| {
            let [name, system_name, filename] = names;
            functions.push(proto::Function { id: next, name, system_name, filename, start_line: 0 });
            next
        });
        proto::Line { function_id, line: i64::from(frame.line), column: 0 }
    };
    let location = |(location, id): (&'a Location, u64)| proto::Location {
        id,
        mapping_id: mappings.id(location),
        address: location.address,
        // Those without a name have no line, so that the names can be filled in later.
        line: if location.named { location.frames.iter().map(&mut line).collect() } else { Vec::new() },
        is_folded: false,
    };
    (profile.locations.iter().zip(1..).map(location).collect(), functions)
}

fn comments(profile: &Profile) -> Vec<String> {
    let stats = &profile.stats;
    let mut comments =
        vec![format!("stagelight {}", env!("CARGO_PKG_VERSION")), format!("rung: {}", stats.rung)];
    let counts = [("samples", stats.samples), ("complete stacks", stats.complete_stacks)];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(what, count)| format!("{what}: {count}")).collect();
    comments.extend((!counts.is_empty()).then(|| counts.join(", ")));
    comments.extend(profile.remarks());
    comments
        .extend(profile.filters.iter().map(|(label, value)| format!("only: {label}={}", readable(value))));
    comments.extend((!stats.rung_limits.is_empty()).then(|| format!("rung's limits: {}", stats.rung_limits)));
    // What is zero is left out.
    let dropped = stats.dropped.iter().filter(|(_, count)| *count > 0);
    comments.extend(dropped.map(|(cause, count)| format!("dropped, {cause}: {count}")));
    comments.extend(stats.rungs_refused.iter().map(|reason| format!("refused: {reason}")));
    comments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::sample_profile;
    use std::io::Read;

    #[test]
    fn it_decodes_to_what_was_encoded() {
        let mut bytes = Vec::new();
        sample_profile().filter("stage", "step").by_label("tenant").write_pprof(&mut bytes).unwrap();
        let mut raw = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut raw).unwrap();
        let decoded = proto::Profile::decode(&raw[..]).unwrap();
        let text = |id: i64| decoded.string_table[id as usize].as_str();

        assert_eq!(decoded.string_table[0], "");
        let types: Vec<_> = decoded.sample_type.iter().map(|t| (text(t.r#type), text(t.unit))).collect();
        assert_eq!(types, [("samples", "count"), ("cpu", "nanoseconds")]);
        assert_eq!(decoded.sample.iter().map(|s| s.value[1]).sum::<i64>(), 6_000_000);
        let names = |sample: &proto::Sample| -> Vec<&str> {
            let locations = sample.location_id.iter().map(|&id| &decoded.location[id as usize - 1]);
            let lines = locations.flat_map(|location| &location.line);
            lines.map(|line| text(decoded.function[line.function_id as usize - 1].name)).collect()
        };
        let stack = ["sqlite3VdbeExec", "orders::step::<T>", "orders::run", "main"];
        assert_eq!(names(&decoded.sample[0])[..4], stack);
        assert_eq!(names(&decoded.sample[2])[..4], stack, "what has no name has no line");
        assert_eq!(names(&decoded.sample[0])[4], "tenant: acme");
        let [program, library] = &decoded.mapping[..] else { panic!("{:?}", decoded.mapping) };
        assert_eq!((text(program.filename), text(program.build_id)), ("/usr/bin/orders", "0123abcd"));
        assert_eq!(
            (program.memory_start, program.memory_limit, program.file_offset),
            (0x1000, 0xa000, 0x1000)
        );
        assert!(program.has_functions && program.has_line_numbers && program.has_inline_frames);
        assert!(!library.has_functions && !library.has_filenames);
        assert_eq!(decoded.location.last().unwrap().mapping_id, 0, "a label lies nowhere");
        let labels: Vec<_> = decoded.sample[0].label.iter().map(|l| (text(l.key), text(l.str))).collect();
        assert!(
            labels.contains(&("statement", r#""select \"a\";\nb""#)) && labels.contains(&("tenant", "acme"))
        );
        let comments: Vec<_> = decoded.comment.iter().map(|&id| text(id)).collect();
        assert!(comments.contains(&"rung: ctimer") && comments.contains(&"dropped, ring_full: 1"));
        assert!(comments.contains(&"only: stage=step"), "{comments:?}");
        assert!(comments.contains(&"2 threads waited throughout"), "{comments:?}");
        assert!(comments.contains(&"warning: 3 of 4 queries count as user `other`"), "{comments:?}");
        assert!(comments.contains(&"samples: 6, complete stacks: 6"), "{comments:?}");
        assert!(!comments.iter().any(|comment| comment.ends_with(": 0")), "{comments:?}");
        let mut nothing = sample_profile();
        nothing.stats.samples = 0;
        nothing.stats.complete_stacks = 0;
        nothing.stats.dropped = vec![("ring_full", 0)];
        let comments = super::comments(&nothing);
        assert!(!comments.iter().any(|comment| comment.contains(": 0")), "{comments:?}");
    }
}
