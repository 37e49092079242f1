//! Which labels are not told apart any more, and how much counts as `other` for it.

use std::fmt;

use crate::record::fallback::NUMBERS;
use crate::record::interner::{self, MAX_VALUES, OTHER};
use crate::record::labels::LabelKind;
use crate::record::registry;
use crate::record::turnover::{self, Reading};

/// A kind of label of which queries count as `other`, and why. Its [`Display`](fmt::Display) is a
/// sentence for people.
///
/// The other kinds' totals are exact all the same, and so is the sum over the values of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelFallback {
    /// The kind.
    pub kind: LabelKind,
    /// Queries that count as `other` by this kind, since the process started.
    pub calls: u64,
    /// All queries since then.
    pub of: u64,
    /// Whether more different values came than are told apart.
    pub values: bool,
    /// Whether the kind was given up where values were combined in more ways than are told apart,
    /// so that the queries' other labels could be kept.
    pub combinations: bool,
}

/// Values of a kind that are told apart, beside absence and `other`.
const VALUES: usize = MAX_VALUES - 2;

impl fmt::Display for LabelFallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, calls, of, values, combinations } = self;
        let kind = kind.name();
        let percent = 100.0 * *calls as f64 / (*of).max(1) as f64;
        write!(f, "{calls} of {of} queries ({percent:.1} %) count as {kind} `{OTHER}`: ")?;
        match (values, combinations) {
            (true, false) => write!(f, "there are more than {VALUES} values of {kind}"),
            (false, true) => {
                write!(f, "labels are combined in more ways than the {NUMBERS} that are told apart")
            }
            _ => write!(
                f,
                "there are more than {VALUES} values of {kind}, and labels are combined in more ways than the {NUMBERS} \
                 that are told apart"
            ),
        }
    }
}

/// The labels that fell back so far, in the order of [`LabelKind::ALL`]; as a rule there are none,
/// and then it costs next to nothing. Else it costs some microseconds a thread.
#[must_use]
pub fn label_fallbacks() -> Vec<LabelFallback> {
    if interner::shortages().iter().any(|shortage| shortage.values || shortage.sets) {
        of(&turnover::read(&registry::blocks()))
    } else {
        Vec::new()
    }
}

/// Those of one reading of all sets' figures.
pub(crate) fn of(reading: &Reading) -> Vec<LabelFallback> {
    let all = reading.sets.iter().map(|(_, figures)| figures.calls).sum();
    let fallback = |kind: LabelKind, shortage: interner::Shortage| {
        let others = reading.sets.iter().filter(|(set, _)| set.get(kind) == OTHER);
        let calls = others.map(|(_, figures)| figures.calls).sum();
        let fell_back = calls > 0 && (shortage.values || shortage.sets);
        let (values, combinations) = (shortage.values, shortage.sets);
        fell_back.then_some(LabelFallback { kind, calls, of: all, values, combinations })
    };
    let shortages = LabelKind::ALL.into_iter().zip(interner::shortages());
    shortages.filter_map(|(kind, shortage)| fallback(kind, shortage)).collect()
}
