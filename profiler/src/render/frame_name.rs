//! What a frame is called in pictures and tables.

use std::borrow::Cow;

use crate::symbolize::Frame;

impl Frame {
    /// Its function, and, where lines were asked for, the line: `leak::render leak.rs:279`. The
    /// file is named without its folders, which would take more room than the function.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        if self.line == 0 || self.file.is_empty() {
            return self.function.as_str().into();
        }
        let file = self.file.rsplit(['/', '\\']).next().unwrap_or_default();
        format!("{} {file}:{}", self.function, self.line).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_shows_its_line_where_that_is_known() {
        let frame = |file: &str, line| Frame { file: file.into(), line, ..Frame::named("leak::render") };
        assert_eq!(frame("/home/db/examples/leak.rs", 279).shown(), "leak::render leak.rs:279");
        assert_eq!(frame("leak.rs", 1).shown(), "leak::render leak.rs:1");
        assert_eq!(frame("/home/db/examples/leak.rs", 0).shown(), "leak::render");
        assert_eq!(frame("", 279).shown(), "leak::render");
    }
}
