//! Leaves out what Stagelight itself does: its threads, and its functions on the program's threads.
//! A user looks for neither; what they took is told beside the profile.

use std::time::Duration;

use super::{Cuts, Kind, Location, Profile, ProfileStats, Raw};
use crate::own_threads;
use crate::symbolize::Frame;

/// Functions that record or sample, by the modules that they are in.
const RECORDING: [&str; 10] = [
    "stagelight::bridge::",
    "stagelight::metric::",
    "stagelight::record::",
    "stagelight_profiler::heap::focus::",
    "stagelight_profiler::heap::jemalloc::hook::",
    "stagelight_profiler::heap::pseudo_frame::",
    "stagelight_profiler::heap::stack::",
    "stagelight_profiler::heap::told::",
    "stagelight_profiler::lock::record::",
    "stagelight_profiler::unwind::",
];

/// Those among them, and others, that the program's own code runs within, maybe inlined into them.
const PASSING_ON: [&str; 10] = [
    "stagelight::lock::",
    "stagelight::parking_lot::",
    "stagelight::record::context::",
    "stagelight::record::expansion::",
    "stagelight::record::future::",
    "stagelight::record::label_value::",
    "stagelight::record::outcome::",
    "stagelight::record::pulled::",
    "stagelight::sync::",
    "stagelight_profiler::heap::any::",
];

/// What anybody's functions call: by itself it is nobody's.
const HELPERS: [&str; 3] = ["alloc::", "core::", "std::"];

/// Files of such functions.
const HELPING_FILES: [&str; 4] = ["ld-linux", "libc.", "libpthread", "[vdso]"];

/// Whose function it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Programs,
    Anybodys,
    /// Of ours, with code of the program's in it.
    PassingOn,
    Recording,
}

/// Takes the samples of Stagelight's threads out, and notes what they took.
pub(super) fn leave_out_threads(raw: &mut Vec<Raw>, stats: &mut ProfileStats) {
    let is_own = |raw: &Raw| {
        let name = &raw.context.thread;
        own_threads::is_own(&name[..name.iter().position(|&byte| byte == 0).unwrap_or(name.len())])
    };
    let sum = |at: usize| -> i64 { raw.iter().filter(|raw| is_own(raw)).map(|raw| raw.values[at]).sum() };
    stats.own_threads += Duration::from_nanos(sum(1).max(0) as u64);
    stats.own_samples += sum(0).max(0) as u64;
    raw.retain(|raw| !is_own(raw));
}

/// Takes Stagelight's functions off the stacks. Where one of them was sampled, or what it had
/// called, the time counts with the function of the program's that it served, and is noted.
pub(super) fn leave_out_functions(profile: &mut Profile) {
    // Elsewhere what samples stands on each stack, and whoever takes the profile takes it off.
    let is_timed = matches!(profile.kind, Kind::Cpu | Kind::OffCpu | Kind::Wall);
    let whose: Vec<Vec<Whose>> = profile
        .locations
        .iter()
        .map(|location| location.frames.iter().map(|frame| whose(location, frame)).collect())
        .collect();
    if whose.iter().flatten().all(|whose| matches!(whose, Whose::Programs | Whose::Anybodys)) {
        return;
    }
    let mut own_ns = 0;
    let mut cuts = Cuts::default();
    let Profile { samples, held, locations, .. } = profile;
    for sample in samples.iter_mut().chain(held.iter_mut().flatten()) {
        let recording = if is_timed { innermost_recording(&sample.stack, &whose) } else { 0 };
        own_ns += if recording > 0 { sample.values[1] } else { 0 };
        cuts.cut(locations, &mut sample.stack, recording, |location, at| {
            let whose = &whose[location as usize];
            // The function itself that code lies in may hold the program's own.
            whose[at] == Whose::Recording || (whose[at] == Whose::PassingOn && at + 1 < whose.len())
        });
    }
    profile.stats.own_functions += Duration::from_nanos(own_ns.max(0) as u64);
}

fn whose(location: &Location, frame: &Frame) -> Whose {
    let name = frame.function.trim_start_matches('<');
    let name = name.strip_prefix("core::ptr::drop_in_place<").unwrap_or(name);
    let starts = |name: &str, modules: &[&str]| modules.iter().any(|module| name.starts_with(module));
    let is_in = |modules| starts(name, modules);
    // A trait of ours for a type of the program's is the program's code.
    let is_of_trait = name.split_once(" as ").is_some_and(|(_, of)| starts(of, &PASSING_ON));
    let file = location.mapping.as_ref().map_or("", |mapping| mapping.path.rsplit('/').next().unwrap_or(""));
    if is_in(&PASSING_ON) || is_of_trait {
        Whose::PassingOn
    } else if is_in(&RECORDING) {
        Whose::Recording
    } else if is_in(&HELPERS)
        || name.starts_with("[kernel")
        || location.mapping.as_ref().is_some_and(|mapping| mapping.is_kernel())
        || HELPING_FILES.iter().any(|start| file.starts_with(start))
    {
        Whose::Anybodys
    } else {
        Whose::Programs
    }
}

/// How many frames, from the innermost on, are of recording and of what it called.
fn innermost_recording(stack: &[u32], whose: &[Vec<Whose>]) -> usize {
    let frames = stack.iter().flat_map(|&location| &whose[location as usize]);
    let inner = frames.take_while(|whose| **whose != Whose::Programs).enumerate();
    inner.filter(|(_, whose)| **whose == Whose::Recording).last().map_or(0, |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::super::tests::sample_profile;
    use super::*;
    use crate::symbolize::Symbols;

    /// A profile of one stack, each location by the names of its frames, innermost first.
    fn profile_of(kind: Kind, stack: &[&[&str]]) -> Profile {
        let mut profile = sample_profile();
        let location = |names: &&[&str]| {
            let frames = names.iter().map(|name| Frame::named(*name)).collect();
            Location::new(1, Symbols { mapping: None, frames })
        };
        profile.kind = kind;
        profile.stats.own_functions = Duration::ZERO;
        profile.locations = stack.iter().map(location).collect();
        let labels = profile.samples[0].labels.clone();
        let stack = (0..stack.len() as u32).collect();
        profile.samples = vec![Sample { stack, labels, values: [1, 1_000] }];
        profile
    }

    fn left(kind: Kind, stack: &[&[&str]]) -> (Vec<String>, u128) {
        let mut profile = profile_of(kind, stack);
        leave_out_functions(&mut profile);
        let names = profile.frames(&profile.samples[0]).map(|frame| frame.function.clone()).collect();
        (names, profile.stats.own_functions.as_nanos())
    }

    #[test]
    fn what_recording_takes_counts_with_whom_it_served() {
        let stack: &[&[&str]] = &[
            &["core::mem::replace", "stagelight::record::cells::Cell::add"],
            &["<stagelight::record::guard::StageGuard as core::ops::drop::Drop>::drop"],
            &["core::ptr::drop_in_place<stagelight::record::guard::StageGuard>", "app::scan"],
            &["app::main"],
        ];
        assert_eq!(left(Kind::Cpu, stack), (vec!["app::scan".into(), "app::main".into()], 1_000));
    }

    #[test]
    fn what_the_program_does_within_our_functions_stays() {
        let stack: &[&[&str]] = &[
            &["core::hash::hash"],
            &["app::parse", "stagelight::record::outcome::once::<app::run>", "app::run"],
            &["<stagelight::record::future::StageFuture<F> as core::future::Future>::poll"],
            &[
                "<str as stagelight::record::label_value::LabelValue>::with_label",
                "stagelight::record::guard::enter",
                "app::main",
            ],
        ];
        let names = [
            "core::hash::hash",
            "app::parse",
            "app::run",
            "<stagelight::record::future::StageFuture<F> as core::future::Future>::poll",
            "app::main",
        ];
        assert_eq!(left(Kind::Cpu, stack), (names.map(String::from).to_vec(), 0));
        // An iterator of the program's may be inlined into ours, of which nothing else is known without lines.
        let next =
            "<stagelight::record::pulled::iterator::RecordedIterator<I,C,E> as core::iter::Iterator>::next";
        let iterator: &[&[&str]] = &[&["core::slice::copy"], &[next], &["app::main"]];
        let names = ["core::slice::copy", next, "app::main"].map(String::from).to_vec();
        assert_eq!(left(Kind::Cpu, iterator), (names, 0));
        let allocation: &[&[&str]] = &[
            &["malloc"],
            &["<stagelight_profiler::heap::any::Sampler<A> as core::alloc::GlobalAlloc>::alloc", "app::f"],
        ];
        assert_eq!(left(Kind::Cpu, allocation), (vec!["malloc".into(), "app::f".into()], 0));
    }

    #[test]
    fn a_stack_of_nothing_else_keeps_its_outermost_function() {
        let stack: &[&[&str]] = &[&["stagelight::record::a"], &["stagelight::record::b"]];
        assert_eq!(left(Kind::Wall, stack), (vec!["stagelight::record::b".into()], 1_000));
        let lock: &[&[&str]] = &[&["stagelight::record::a"], &["app::f"]];
        assert_eq!(left(Kind::Block, lock), (vec!["app::f".into()], 0), "that is on each stack there");
    }

    #[test]
    fn threads_of_ours_are_left_out_and_their_time_is_told() {
        let raw = |name: &[u8], ns| {
            let mut context = super::super::Context::of((1, 0));
            context.thread[..name.len()].copy_from_slice(name);
            Raw { stack: Box::new([1]), context, values: [1, ns] }
        };
        let mut raws = vec![
            raw(b"stagelight-cpu", 3),
            raw(b"stagelight-demo", 4),
            raw(b"", 5),
            raw(b"stagelight-coll", 6),
        ];
        let mut stats = sample_profile().stats;
        stats.own_threads = Duration::ZERO;
        leave_out_threads(&mut raws, &mut stats);
        assert_eq!(raws.iter().map(|raw| raw.values[1]).sum::<i64>(), 9);
        assert_eq!(stats.own_threads.as_nanos(), 9);
    }
}
