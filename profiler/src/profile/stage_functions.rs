//! Which function is which stage, so that a stack can go on from a stage instead of from its thread's start.
//!
//! A stage notes where in the code it was entered first. That is named as the samples' addresses are, so a stage that was
//! inlined is the function that it was inlined into. Where the compiler made several functions of one, as of a generic one,
//! the others are known by their name without what it is generic over.

use std::collections::{HashMap, HashSet};

use super::{Location, Raw, WITHIN};
use crate::symbolize::Symbols;

/// The names of the functions that stages are, by the stages' names.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageFunctions(HashMap<String, Vec<String>>);

/// Where the stages of some samples were entered first, and their names.
pub(super) fn entered<'a>(raw: impl Iterator<Item = &'a Raw>) -> Vec<(u64, &'static str)> {
    let numbers: HashSet<u16> = raw.flat_map(|raw| raw.context.stages().iter().copied()).collect();
    let stage = |number: u16| {
        let (_, name) = stagelight::__private::stage_by_id(number.into());
        (stagelight::__private::stage_code(number.into()), name)
    };
    numbers.into_iter().map(stage).filter(|(code, _)| *code != 0).collect()
}

impl StageFunctions {
    /// Notes that a stage is the function of that name.
    pub(super) fn add(&mut self, stage: &str, symbols: &Symbols) {
        let Some(function) = symbols.frames.last() else { return };
        let known = self.0.entry(stage.to_owned()).or_default();
        if !known.contains(&function.function) {
            known.push(function.function.clone());
        }
    }

    /// What either knows.
    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (stage, functions) in &other.0 {
            let known = sum.0.entry(stage.clone()).or_default();
            known.extend(functions.iter().filter(|function| !self.has(stage, function)).cloned());
        }
        sum
    }

    fn has(&self, stage: &str, function: &str) -> bool {
        self.0.get(stage).is_some_and(|known| known.iter().any(|name| name == function))
    }

    /// Where in a stack, innermost first, the function of the path's innermost stage stands that is in it.
    ///
    /// Of a function that stands there several times it is the one that the path says: a stage that calls itself is on the
    /// path once for each call.
    pub(super) fn entry(&self, path: &str, stack: &[u32], locations: &[Location]) -> Option<usize> {
        let stages: Vec<&str> = path.split(WITHIN).collect();
        let found = |inner: usize| {
            let functions = self.0.get(stages[inner])?.iter();
            let place = |function: &String| {
                let nth = stages[..=inner].iter().filter(|stage| self.has(stage, function)).count();
                nth_from_start(nth, stack, locations, |name| name == function).or_else(|| {
                    let bare = bare(function);
                    nth_from_start(nth, stack, locations, |name| self::bare(name) == bare)
                })
            };
            functions.filter_map(place).min()
        };
        (0..stages.len()).rev().find_map(found)
    }
}

/// The place of the n-th function of a name from the thread's start, or the last one if there are fewer.
fn nth_from_start(
    nth: usize,
    stack: &[u32],
    locations: &[Location],
    is: impl Fn(&str) -> bool,
) -> Option<usize> {
    let is_it = |location: &Location| {
        !location.is_label() && location.frames.last().is_some_and(|frame| is(&frame.function))
    };
    let places = (0..stack.len()).rev().filter(|&at| is_it(&locations[stack[at] as usize]));
    places.take(nth).last()
}

/// A function's name without what it, and what is named in it, is generic over: `a::Tree::get` for both
/// `a::Tree<u8>::get::<u16>` and `a::Tree<u16>::get::<u8>`. What it is implemented for stays: `<a::Tree as a::Get>::get`.
fn bare(name: &str) -> String {
    let mut bare = String::with_capacity(name.len());
    let mut depth = 0_u32;
    let mut before = ' ';
    for c in name.chars() {
        match c {
            '<' if depth > 0 || before.is_alphanumeric() || before == '_' || before == ':' => {
                if depth == 0 {
                    bare.truncate(bare.trim_end_matches("::").len());
                }
                depth += 1;
            }
            '>' if depth > 0 && before != '-' => depth -= 1,
            _ if depth == 0 => bare.push(c),
            _ => {}
        }
        before = c;
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::Frame;

    fn locations(names: &[&str]) -> Vec<Location> {
        let symbols = |name: &str| Symbols { mapping: None, frames: vec![Frame::named(name)] };
        names.iter().zip(1..).map(|(name, address)| Location::new(address, symbols(name))).collect()
    }

    fn functions(of: &[(&str, &str)]) -> StageFunctions {
        let mut functions = StageFunctions::default();
        for (stage, function) in of {
            functions.add(stage, &Symbols { mapping: None, frames: vec![Frame::named(*function)] });
        }
        functions
    }

    #[test]
    fn the_innermost_stage_that_is_in_the_stack_is_found() {
        let functions =
            functions(&[("query", "app::run"), ("scan", "app::scan::<u8>"), ("pool", "app::pool")]);
        let locations = locations(&["read", "app::scan::<u16>", "app::helper", "app::run", "main"]);
        let entry = |path: &str, stack: &[u32]| functions.entry(path, stack, &locations);
        assert_eq!(entry("query > scan", &[0, 1, 2, 3, 4]), Some(1), "another instance of the function");
        assert_eq!(entry("query", &[0, 1, 2, 3, 4]), Some(3));
        assert_eq!(entry("query > pool", &[0, 2, 3, 4]), Some(2), "the inner one was inlined elsewhere");
        assert_eq!(entry("pool", &[0, 2, 4]), None);
        assert_eq!(entry("unknown", &[0, 2, 4]), None);
        assert_eq!(entry("", &[4]), None);
    }

    #[test]
    fn a_function_that_calls_itself_counts_as_often_as_the_path_says() {
        let functions = functions(&[("tree", "app::tree")]);
        let locations = locations(&["leaf", "app::tree", "main"]);
        let stack = [0, 1, 1, 1, 2];
        for (path, at) in [("tree", 3), ("tree > tree", 2), ("tree > tree > tree", 1)] {
            assert_eq!(functions.entry(path, &stack, &locations), Some(at), "{path}");
        }
        assert_eq!(functions.entry("tree > tree > tree > tree", &stack, &locations), Some(1));
    }

    #[test]
    fn names_lose_what_they_are_generic_over_and_nothing_else() {
        for (name, expected) in [
            ("app::scan", "app::scan"),
            ("app::scan::<u8>", "app::scan"),
            ("app::Tree<u8>::get::<alloc::vec::Vec<u8>>", "app::Tree::get"),
            ("<app::Tree<u8> as app::Get<fn() -> u8>>::get", "<app::Tree as app::Get>::get"),
            ("<&[T] as app::Get>::get::{{closure}}", "<&[T] as app::Get>::get::{{closure}}"),
            ("std::map<int, int>::find(int)", "std::map::find(int)"),
        ] {
            assert_eq!(bare(name), expected, "{name}");
        }
    }
}
