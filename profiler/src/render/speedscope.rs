//! The file format of speedscope, <https://www.speedscope.app>.
//! Source: <https://www.speedscope.app/file-format-schema.json>.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use serde_json::json;
use stagelight::export::readable;

use super::frame_name::FrameName;
use super::units::Unit;
use crate::profile::Profile;

impl Profile {
    /// Writes JSON for speedscope: all stacks whose value is above zero, as one profile of nanoseconds or bytes. Its frames
    /// are functions, or, with lines, the lines of functions.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_speedscope(&self, mut out: impl Write) -> io::Result<()> {
        let mut frames = Vec::new();
        let mut index: HashMap<(&str, &str, u32), usize> = HashMap::new();
        // In an order in which like stacks are neighbours.
        let mut stacks: BTreeMap<Vec<usize>, i64> = BTreeMap::new();
        for sample in &self.samples {
            let stack = self.frames(sample).rev().map(|frame| {
                *index.entry((&frame.function, &frame.file, frame.line)).or_insert_with(|| {
                    let name = FrameName::of(frame).text();
                    let name = readable(&name);
                    frames.push(match frame.file.as_str() {
                        "" => json!({"name": name}),
                        file if frame.line == 0 => json!({"name": name, "file": readable(file)}),
                        file => json!({"name": name, "file": readable(file), "line": frame.line}),
                    });
                    frames.len() - 1
                })
            });
            *stacks.entry(stack.collect()).or_default() += sample.values[1];
        }
        stacks.retain(|_, value| *value > 0);
        let (samples, weights): (Vec<Vec<usize>>, Vec<i64>) = stacks.into_iter().unzip();
        let unit = match self.kind.unit() {
            Unit::Nanoseconds => "nanoseconds",
            Unit::Bytes => "bytes",
        };
        let file = json!({
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "exporter": concat!("stagelight ", env!("CARGO_PKG_VERSION")),
            "name": format!("{}: {}", self.title(), self.subtitle_with_remarks()),
            "activeProfileIndex": 0,
            "shared": {"frames": frames},
            "profiles": [{
                "type": "sampled",
                "name": self.title(),
                "unit": unit,
                "startValue": 0,
                "endValue": weights.iter().sum::<i64>(),
                "samples": samples,
                "weights": weights,
            }],
        });
        serde_json::to_writer(&mut out, &file)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::tests::sample_profile;
    use crate::render::tests::golden_json;

    #[test]
    fn stacks_are_root_first_with_their_weights() {
        golden_json("speedscope.json", |out| sample_profile().by_label("statement").write_speedscope(out));
    }
}
