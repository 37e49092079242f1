//! What a frame is called in pictures and tables.

use std::borrow::Cow;

use stagelight::export::table::shorten;

use crate::symbolize::Frame;

/// A function, and, where lines were asked for, the line.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FrameName<'a> {
    function: &'a str,
    /// The file without its folders, which would take more room than the function.
    place: Option<(&'a str, u32)>,
}

impl<'a> FrameName<'a> {
    pub(super) fn of(frame: &'a Frame) -> Self {
        let file = frame.file.rsplit(['/', '\\']).next().unwrap_or_default();
        let is_known = frame.line > 0 && !file.is_empty();
        Self { function: &frame.function, place: is_known.then_some((file, frame.line)) }
    }

    /// All of it: `leak::render leak.rs:279`.
    pub(super) fn text(self) -> Cow<'a, str> {
        match self.place {
            None => self.function.into(),
            Some((file, line)) => format!("{} {file}:{line}", self.function).into(),
        }
    }

    /// So many characters of it on one line. A long function is cut, and not where it is.
    pub(super) fn short(self, width: usize) -> String {
        let Some((file, line)) = self.place else { return shorten(self.function, width) };
        let place = shorten(&format!("{file}:{line}"), width / 2);
        format!("{} {place}", shorten(self.function, width - place.chars().count() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_shows_its_line_where_that_is_known() {
        let frame = |file: &str, line| Frame { file: file.into(), line, ..Frame::named("leak::render") };
        for (frame, text, short) in [
            (frame("/home/db/examples/leak.rs", 279), "leak::render leak.rs:279", "leak::ren… leak.rs:279"),
            (frame("leak.rs", 1), "leak::render leak.rs:1", "leak::render leak.rs:1"),
            (frame("/home/db/examples/leak.rs", 0), "leak::render", "leak::render"),
            (frame("", 279), "leak::render", "leak::render"),
        ] {
            assert_eq!(FrameName::of(&frame).text(), text);
            assert_eq!(FrameName::of(&frame).short(22), short);
            assert_eq!(FrameName::of(&frame).short(160), text);
        }
    }
}
