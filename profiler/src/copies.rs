//! Other copies of the sdk in this process: a plugin that links its own records apart from the
//! program.

use stagelight::__private::copy_note;

use crate::loaded;

/// One of them.
pub(crate) struct SdkCopy {
    /// The object that it lies in, as the loader names it.
    object: String,
    version: String,
}

/// All that record, but for the one that this crate reads.
pub(crate) fn others() -> Vec<SdkCopy> {
    let own = copy_note::own().map(|note| note as usize);
    let mut others = Vec::new();
    loaded::each(|object| {
        for note in object.notes() {
            let is_copy = note.name == copy_note::NAME && note.kind == copy_note::KIND;
            if is_copy && Some(note.whole.as_ptr() as usize) != own {
                let version = note.content.split(|byte| *byte == 0).next().unwrap_or_default();
                let version = String::from_utf8_lossy(version).into_owned();
                let object = object.name();
                others.push(SdkCopy {
                    object: if object.is_empty() { "the program".into() } else { object },
                    version,
                });
            }
        }
        true
    });
    others
}

/// What that means, in a sentence.
impl std::fmt::Display for SdkCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} has a copy of stagelight {} of its own: its stages and queries are not among these, and samples of \
             them have the stage and labels of the program's that called it, if there is one",
            self.object, self.version
        )
    }
}
