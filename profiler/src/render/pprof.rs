//! pprof's `profile.proto`, gzipped, as `go tool pprof` reads it. Symbolized, so that no tool need ask for names.
//! Source: <https://github.com/google/pprof/blob/main/proto/profile.proto>.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;

use crate::profile::{LABELS, Profile};

/// The messages of `profile.proto`, by field numbers; fields that are never written are left out.
pub(crate) mod proto {
    #![allow(missing_docs, reason = "the format's own documentation applies")]

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Profile {
        #[prost(message, repeated, tag = "1")]
        pub sample_type: Vec<ValueType>,
        #[prost(message, repeated, tag = "2")]
        pub sample: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub mapping: Vec<Mapping>,
        #[prost(message, repeated, tag = "4")]
        pub location: Vec<Location>,
        #[prost(message, repeated, tag = "5")]
        pub function: Vec<Function>,
        #[prost(string, repeated, tag = "6")]
        pub string_table: Vec<String>,
        #[prost(int64, tag = "9")]
        pub time_nanos: i64,
        #[prost(int64, tag = "10")]
        pub duration_nanos: i64,
        #[prost(message, optional, tag = "11")]
        pub period_type: Option<ValueType>,
        #[prost(int64, tag = "12")]
        pub period: i64,
        #[prost(int64, repeated, tag = "13")]
        pub comment: Vec<i64>,
        #[prost(int64, tag = "14")]
        pub default_sample_type: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct ValueType {
        #[prost(int64, tag = "1")]
        pub r#type: i64,
        #[prost(int64, tag = "2")]
        pub unit: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Sample {
        #[prost(uint64, repeated, tag = "1")]
        pub location_id: Vec<u64>,
        #[prost(int64, repeated, tag = "2")]
        pub value: Vec<i64>,
        #[prost(message, repeated, tag = "3")]
        pub label: Vec<Label>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Label {
        #[prost(int64, tag = "1")]
        pub key: i64,
        #[prost(int64, tag = "2")]
        pub str: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Mapping {
        #[prost(uint64, tag = "1")]
        pub id: u64,
        #[prost(uint64, tag = "2")]
        pub memory_start: u64,
        #[prost(uint64, tag = "3")]
        pub memory_limit: u64,
        #[prost(int64, tag = "5")]
        pub filename: i64,
        #[prost(bool, tag = "7")]
        pub has_functions: bool,
        #[prost(bool, tag = "8")]
        pub has_filenames: bool,
        #[prost(bool, tag = "9")]
        pub has_line_numbers: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Location {
        #[prost(uint64, tag = "1")]
        pub id: u64,
        #[prost(uint64, tag = "2")]
        pub mapping_id: u64,
        #[prost(uint64, tag = "3")]
        pub address: u64,
        #[prost(message, repeated, tag = "4")]
        pub line: Vec<Line>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Line {
        #[prost(uint64, tag = "1")]
        pub function_id: u64,
        #[prost(int64, tag = "2")]
        pub line: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Function {
        #[prost(uint64, tag = "1")]
        pub id: u64,
        #[prost(int64, tag = "2")]
        pub name: i64,
        #[prost(int64, tag = "3")]
        pub system_name: i64,
        #[prost(int64, tag = "4")]
        pub filename: i64,
    }
}

impl Profile {
    /// Writes gzipped pprof. The labels become pprof's labels, for its `-tagfocus` and `-tagroot`; how the profile
    /// came about and what was dropped stand in its comments.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_pprof(&self, out: impl Write) -> io::Result<()> {
        let mut gzip = GzEncoder::new(out, Compression::fast());
        gzip.write_all(&encode(self).encode_to_vec())?;
        gzip.finish()?.flush()
    }
}

/// The string table. Its first entry is empty, as the format demands.
struct Strings {
    table: Vec<String>,
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
        self.table.push(text.to_owned());
        self.index.insert(text.to_owned(), id);
        id
    }
}

fn encode(profile: &Profile) -> proto::Profile {
    let mut strings = Strings::new();
    let [count, primary] = profile
        .kind
        .values()
        .map(|(name, unit)| proto::ValueType { r#type: strings.id(name), unit: strings.id(unit) });
    let (location, function) = locations(profile, &mut strings);
    let comment = comments(profile).iter().map(|comment| strings.id(comment)).collect();
    let label_keys = LABELS.map(|label| strings.id(label));
    let sample = |sample: &crate::profile::Sample| proto::Sample {
        location_id: sample.stack.iter().map(|&location| u64::from(location) + 1).collect(),
        value: sample.values.to_vec(),
        label: label_keys
            .iter()
            .zip(sample.labels.iter())
            .filter(|(_, value)| !value.is_empty())
            .map(|(&key, value)| proto::Label { key, str: strings.id(value) })
            .collect(),
    };
    let sample = profile.samples.iter().map(sample).collect();
    let executable = std::env::current_exe().unwrap_or_default();
    // One mapping stands for the program and all its libraries: every location carries its names.
    let mapping = proto::Mapping {
        id: 1,
        memory_start: 0,
        memory_limit: u64::MAX,
        filename: strings.id(&executable.to_string_lossy()),
        has_functions: true,
        has_filenames: true,
        has_line_numbers: true,
    };
    let stats = &profile.stats;
    let since_epoch = stats.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    proto::Profile {
        default_sample_type: primary.r#type,
        period_type: Some(primary),
        sample_type: vec![count, primary],
        sample,
        mapping: vec![mapping],
        location,
        function,
        string_table: strings.table,
        time_nanos: since_epoch.as_nanos() as i64,
        duration_nanos: stats.duration.as_nanos() as i64,
        period: stats.period,
        comment,
    }
}

fn locations(profile: &Profile, strings: &mut Strings) -> (Vec<proto::Location>, Vec<proto::Function>) {
    let mut functions: Vec<proto::Function> = Vec::new();
    let mut function_ids: HashMap<(i64, i64), u64> = HashMap::new();
    let mut locations = Vec::new();
    for (location, id) in profile.locations.iter().zip(1..) {
        let frame = &location.frame;
        let (name, filename) = (strings.id(&frame.function), strings.id(&frame.file));
        let next = functions.len() as u64 + 1;
        let function_id = *function_ids.entry((name, filename)).or_insert_with(|| {
            functions.push(proto::Function { id: next, name, system_name: name, filename });
            next
        });
        let line = vec![proto::Line { function_id, line: i64::from(frame.line) }];
        // The root of a label lies in no mapping.
        let mapping_id = u64::from(location.address != 0);
        locations.push(proto::Location { id, mapping_id, address: location.address, line });
    }
    (locations, functions)
}

fn comments(profile: &Profile) -> Vec<String> {
    let stats = &profile.stats;
    let mut comments = vec![
        format!("stagelight {}", env!("CARGO_PKG_VERSION")),
        format!("rung: {}", stats.rung),
        format!("samples: {}, complete stacks: {}", stats.samples, stats.complete_stacks),
    ];
    comments.extend(stats.dropped.iter().map(|(cause, count)| format!("dropped, {cause}: {count}")));
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
        sample_profile().by_label("tenant").write_pprof(&mut bytes).unwrap();
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
        assert_eq!(
            names(&decoded.sample[0]),
            ["sqlite3VdbeExec", "orders::step::<T>", "main", "tenant: acme"]
        );
        let labels: Vec<_> = decoded.sample[0].label.iter().map(|l| (text(l.key), text(l.str))).collect();
        assert!(labels.contains(&("statement", "select \"a\";\nb")) && labels.contains(&("tenant", "acme")));
        let comments: Vec<_> = decoded.comment.iter().map(|&id| text(id)).collect();
        assert!(comments.contains(&"rung: ctimer") && comments.contains(&"dropped, ring_full: 1"));
    }
}
