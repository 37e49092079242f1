//! Golden files: what each renderer makes of the same small profile, in `golden/`. `STAGELIGHT_GOLDEN=write` writes them
//! anew, to be read before they are kept.

use std::io;
use std::path::Path;

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
