//! Golden files: what each renderer makes of the same small profile, in `golden/`. `STAGELIGHT_GOLDEN=write` writes them
//! anew, to be read before they are kept.

use std::io;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use prost::Message as _;
use stagelight::export::readable;

use super::pprof::proto;
use crate::profile::tests::sample_profile;
use crate::profile::{LABELS, Profile};

type Render<'a> = &'a mut Vec<u8>;

/// Holds what is rendered against a golden file.
pub(super) fn golden(name: &str, render: impl FnOnce(Render<'_>) -> io::Result<()>) {
    check(name, &text(render));
}

/// As [`golden`], laid out for people.
pub(super) fn golden_json(name: &str, render: impl FnOnce(Render<'_>) -> io::Result<()>) {
    let value: serde_json::Value = serde_json::from_str(&text(render)).unwrap();
    check(name, &format!("{value:#}\n"));
}

/// As [`golden`], of what our part of a picture is: its texts, and the place and colour of each frame. Gives all of it.
pub(super) fn golden_svg(name: &str, render: impl FnOnce(Render<'_>) -> io::Result<()>) -> String {
    let svg = text(render);
    let attribute = |tag: &str, name: &str| {
        let value = tag.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest.split('"').next().unwrap());
        value.unwrap_or("-").to_owned()
    };
    let mut own = String::new();
    for tag in svg.split('<').skip(1) {
        let (head, content) = tag.split_once('>').unwrap_or((tag, ""));
        match head.split(' ').next() {
            Some("title") => own += content,
            Some("text") if attribute(head, "id") == "title" || attribute(head, "id") == "subtitle" => {
                own += &format!("{content}\n");
            }
            Some("rect") if head.contains(" fg:x=") => {
                let [x, y, width, fill] = ["x", "y", "width", "fill"].map(|name| attribute(head, name));
                own += &format!("\n  x {x} y {y} width {width} {fill}\n");
            }
            _ => {}
        }
    }
    check(name, &own);
    svg
}

fn text(render: impl FnOnce(Render<'_>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    render(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn check(name: &str, is: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/golden").join(name);
    // The version is in several formats and is not what the files are for.
    let is = is.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if std::env::var("STAGELIGHT_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::write(&file, &is).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(is == golden, "{} differs; it would be:\n{is}", file.display());
}

/// What each format makes of a profile, by its texts where it is not one itself.
fn all_formats(profile: &Profile) -> Vec<(&'static str, String)> {
    let mut pprof = Vec::new();
    profile.write_pprof(&mut pprof).unwrap();
    let mut raw = Vec::new();
    io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&pprof[..]), &mut raw).unwrap();
    let strings = proto::Profile::decode(&raw[..]).unwrap().string_table;
    let nothing = profile.filter("tenant", "").filter("user", "nobody");
    let diff = nothing.diff(profile).unwrap();
    let json = |written: String| {
        let value: serde_json::Value = serde_json::from_str(&written).unwrap();
        let mut texts = String::new();
        let mut rest = vec![&value];
        while let Some(value) = rest.pop() {
            match value {
                serde_json::Value::String(text) => texts += &format!("{text}\n"),
                serde_json::Value::Array(items) => rest.extend(items),
                serde_json::Value::Object(members) => rest.extend(members.values()),
                _ => {}
            }
        }
        texts
    };
    vec![
        ("pprof", strings.join("\n")),
        ("top", text(|out| profile.write_top(out))),
        ("folded", text(|out| profile.write_folded(out))),
        ("svg", text(|out| profile.write_flamegraph(out))),
        ("an svg of nothing", text(|out| nothing.write_flamegraph(out))),
        ("icicle", text(|out| profile.write_icicle(out))),
        ("a difference", text(|out| diff.write_flamegraph(out))),
        ("its base", text(|out| diff.write_base_flamegraph(out))),
        ("speedscope", json(text(|out| profile.write_speedscope(out)))),
        ("firefox", json(text(|out| profile.write_firefox(out)))),
    ]
}

/// A profile that has a text wherever one comes from outside: in labels, function and file names.
fn profile_of(odd: &str) -> Profile {
    let mut profile = sample_profile();
    for sample in &mut profile.samples {
        for value in Arc::make_mut(&mut sample.labels) {
            odd.clone_into(value);
        }
    }
    profile.locations[0].frames[0].function = odd.into();
    profile.locations[0].frames[0].file = odd.into();
    let chosen = profile.filter("statement", odd);
    assert_eq!(chosen.total(), profile.total(), "it is found by its own value");
    LABELS.iter().fold(chosen, |profile, label| profile.by_label(label))
}

#[test]
fn what_would_act_on_a_terminal_is_seen_in_every_format() {
    let odd = "\u{1b}]0;owned\u{7}\n\u{202e}emca\u{200b}";
    for (format, written) in all_formats(&profile_of(odd)) {
        // The escape for XML and the one for folded stacks are the format's own.
        let shown = written.replace("&quot;", "\"").replace("]0:owned", "]0;owned");
        assert!(shown.contains(&*readable(odd)), "{format}: {written}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_hidden_is_in_any_format(odd in any::<String>().prop_map(|text| format!("x{text}\u{202e}"))) {
        for (format, written) in all_formats(&profile_of(&odd)) {
            for line in written.lines() {
                // Nothing in a line that is to be quoted, unless it begins with a quote.
                let line = format!("x{line}").replace('\t', " ");
                prop_assert!(readable(&line) == line, "{}: {:?}", format, line);
            }
        }
    }
}
