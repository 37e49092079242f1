//! The threads of Stagelight itself, which users' profiles leave out.

/// As the kernel knows them: it keeps fifteen bytes of a name. A prefix would not do, for all
/// threads of a program have its name unless they are given one, and a program's name may begin as
/// ours do.
const NAMES: [&[u8]; 8] = [
    b"stagelight-ask",
    b"stagelight-coll",
    b"stagelight-cpu",
    b"stagelight-heap",
    b"stagelight-http",
    b"stagelight-past",
    b"stagelight-stop",
    b"stagelight-wall",
];

/// Whether a thread of that name is Stagelight's.
pub(crate) fn is_own(name: &[u8]) -> bool {
    NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The names that the sources of a folder give threads.
    fn given(folder: &Path, names: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                given(&path, names);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                for call in [".name(\"", ".thread_name(\""] {
                    let names_there = source.split(call).skip(1).filter_map(|rest| rest.split('"').next());
                    names.extend(names_there.filter(|name| name.starts_with("stage")).map(String::from));
                }
            }
        }
    }

    #[test]
    fn all_threads_that_are_started_are_known() {
        let mut names = Vec::new();
        let profiler = Path::new(env!("CARGO_MANIFEST_DIR"));
        given(&profiler.join("src"), &mut names);
        given(&profiler.join("../sdk/src"), &mut names);
        assert!(names.len() >= super::NAMES.len(), "{names:?}");
        for name in names {
            let kept = &name.as_bytes()[..name.len().min(15)];
            assert!(super::is_own(kept), "{name}");
        }
        assert!(!super::is_own(b"stagelight-demo"));
    }
}
