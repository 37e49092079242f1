//! What a profile says if it was to have the kernel's functions and has not, or not by name.

use super::{Chosen, What};
use crate::profile::Raw;
use crate::symbolize::KERNEL_CODE;

/// How refusals begin.
pub(super) const NO_FRAMES: &str = "kernel frames: ";
const NO_NAMES: &str = "names of kernel functions: ";

/// A sentence, if there is something to say.
pub(super) fn note(what: What, rung: &Chosen, raw: &[Raw]) -> Option<String> {
    let What::Cpu { kernel_frames: true, .. } = what else { return None };
    let why = |start: &str| rung.refused.iter().find_map(|reason| reason.strip_prefix(start));
    if let Some(why) = why(NO_FRAMES) {
        return Some(format!("it has no functions of the kernel, which were asked for: {why}"));
    }
    let mut addresses = raw.iter().flat_map(|raw| raw.stack.iter());
    if !addresses.any(|address| KERNEL_CODE.contains(address)) {
        return Some(
            "it has no functions of the kernel, which were asked for: no sample fell into them, or the kernel tells \
             this process nothing of them (kernel.perf_event_paranoid)"
                .into(),
        );
    }
    why(NO_NAMES).map(|why| format!("functions of the kernel have addresses instead of names: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Context;

    #[test]
    fn what_was_asked_for_and_is_missing_is_told() {
        let raw =
            |address| vec![Raw { stack: [7, address].into(), context: Context::default(), values: [1, 1] }];
        let (kernel, program) = (raw(KERNEL_CODE.start + 7), raw(8));
        let asked = What::Cpu { hz: 99, kernel_frames: true };
        let chosen = |refused: &[&str]| Chosen {
            name: "any",
            limits: "",
            refused: refused.iter().map(|reason| (*reason).to_owned()).collect(),
        };
        let told = |refused: &[&str], raw: &[Raw]| note(asked, &chosen(refused), raw).unwrap_or_default();
        assert!(told(&["kernel frames: not permitted"], &program).ends_with("asked for: not permitted"));
        assert!(told(&[], &program).contains("no sample fell into them"));
        assert!(told(&["names of kernel functions: hidden"], &kernel).ends_with("instead of names: hidden"));
        assert_eq!(told(&[], &kernel), "");
        let unasked = What::Cpu { hz: 99, kernel_frames: false };
        assert_eq!(note(unasked, &chosen(&["ctimer: x"]), &program), None);
    }
}
