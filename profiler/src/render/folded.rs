//! Folded stacks: a line a stack, root first, frames parted by semicolons, then a value.
//! Source: <https://github.com/brendangregg/FlameGraph>.

use std::collections::BTreeMap;
use std::io::{self, Write};

use stagelight::export::readable;

use super::frame_name::FrameName;
use crate::profile::{Location, Profile};

impl Profile {
    /// Writes folded stacks: time in microseconds, or bytes, of all stacks whose value is above zero.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_folded(&self, mut out: impl Write) -> io::Result<()> {
        for line in self.folded_lines() {
            writeln!(out, "{line}")?;
        }
        out.flush()
    }

    pub(super) fn folded_lines(&self) -> Vec<String> {
        let stacks = self.folded_stacks().into_iter().filter(|(_, value)| *value > 0);
        stacks.map(|(stack, value)| format!("{stack} {value}")).collect()
    }

    /// Values by stack, in the format's units.
    pub(super) fn folded_stacks(&self) -> BTreeMap<String, i64> {
        let names = |location: &Location| {
            let names: Vec<String> =
                location.frames.iter().rev().map(|frame| clean(&FrameName::of(frame).text())).collect();
            names.join(";")
        };
        let names: Vec<String> = self.locations.iter().map(names).collect();
        let mut stacks: BTreeMap<String, i64> = BTreeMap::new();
        for sample in &self.samples {
            let frames: Vec<&str> =
                sample.stack.iter().rev().map(|&location| names[location as usize].as_str()).collect();
            *stacks.entry(frames.join(";")).or_default() += sample.values[1];
        }
        let divisor = self.kind.folded_divisor();
        stacks.into_iter().map(|(stack, value)| (stack, (value + divisor / 2).div_euclid(divisor))).collect()
    }
}

/// A name that can be shown, without what has a meaning in the format.
fn clean(name: &str) -> String {
    let clean = readable(name).replace(';', ":");
    // An empty frame would vanish.
    if clean.trim().is_empty() { "?".into() } else { clean }
}

#[cfg(test)]
mod tests {
    use crate::profile::tests::sample_profile;

    #[test]
    fn stacks_are_root_first_and_like_ones_are_summed() {
        let mut out = Vec::new();
        sample_profile().write_folded(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "main;orders::run b.rs:9;orders::step::<T> b.rs:2 1000\n\
             main;orders::run b.rs:9;orders::step::<T> b.rs:2;sqlite3VdbeExec sqlite3.c:7 3000\n\
             main;orders::run b.rs:9;orders::step::<T> b.rs:2;sqlite3VdbeExec sqlite3.c:7;libodd.so+0x1444 2000\n"
        );
    }

    #[test]
    fn a_label_with_separators_stays_one_frame() {
        let mut out = Vec::new();
        sample_profile().by_label("statement").write_folded(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let statement = r#"statement: "select \"a\":\nb";main;"#;
        assert!(text.lines().all(|line| line.starts_with(statement)), "{text}");
    }
}
