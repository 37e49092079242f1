//! Taking frames off stacks whose locations others share.

use std::collections::HashMap;

use super::Location;

/// Stacks with fewer frames. Where not all frames of a location go, one with the others takes its
/// place.
#[derive(Default)]
pub(crate) struct Cuts(HashMap<(u32, usize), Option<u32>>);

impl Cuts {
    /// Takes the `inner` innermost frames off a stack, and all others for which `goes` holds. A
    /// stack of nothing else keeps its outermost location.
    pub(crate) fn cut(
        &mut self,
        locations: &mut Vec<Location>,
        stack: &mut Vec<u32>,
        mut inner: usize,
        goes: impl Fn(u32, usize) -> bool,
    ) {
        let mut cut = Vec::with_capacity(stack.len());
        for &location in &*stack {
            let frames = locations[location as usize].frames.len();
            let gone = inner.min(frames);
            inner -= gone;
            let place = *self.0.entry((location, gone)).or_insert_with(|| {
                let stays: Vec<usize> = (gone..frames).filter(|&at| !goes(location, at)).collect();
                if stays.is_empty() || stays.len() == frames {
                    return (!stays.is_empty()).then_some(location);
                }
                let whole = &locations[location as usize];
                let frames = stays.iter().map(|&at| whole.frames[at].clone()).collect();
                locations.push(Location { frames, ..whole.clone() });
                Some(locations.len() as u32 - 1)
            });
            cut.extend(place);
        }
        cut.extend(stack.last().filter(|_| cut.is_empty()));
        *stack = cut;
    }
}
