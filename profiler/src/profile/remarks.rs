//! What must be known of a profile beside its figures.

use std::time::Duration;

use super::{Kind, Profile};

impl Profile {
    /// What makes the profile say less, or other, than it seems to, and what it leaves out. Each is
    /// a sentence of its own; what matters most comes first. Every format with a place for them has
    /// them.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> =
            self.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
        remarks.extend(self.stopped());
        remarks.extend(self.stats.notes.iter().chain(&self.unnamed).cloned());
        remarks.extend(self.own());
        remarks
    }

    fn stopped(&self) -> Option<String> {
        let time = told(self.stats.stopped)?;
        let include = match self.kind {
            Kind::OffCpu | Kind::Wall | Kind::Block | Kind::Mutex => {
                ", and what waited meanwhile waited longer by it"
            }
            _ => "",
        };
        Some(format!(
            "the process did not run for about {time}, since a signal or a debugger stopped it or it was frozen{include}"
        ))
    }

    /// What Stagelight itself took, of the whole profile.
    fn own(&self) -> Option<String> {
        let (threads, functions) = (self.stats.own_threads, self.stats.own_functions);
        let threads = told(threads).map(|time| format!("{time} of Stagelight's threads are left out"));
        let functions = |whose| {
            told(functions)
                .map(|time| format!("{time} of {whose} functions count with those that called them"))
        };
        match threads {
            None => functions("Stagelight's"),
            Some(threads) => Some(match functions("its") {
                None => threads,
                Some(functions) => format!("{threads}, {functions}"),
            }),
        }
    }
}

/// What there is to say of waits that go on as a profile ends: of those that began before it, and of
/// those that began in it.
pub(crate) fn waits_that_go_on(throughout: u64, later: u64) -> Vec<String> {
    let throughout = match throughout {
        0 => None,
        1 => Some("1 thread waited throughout".to_owned()),
        _ => Some(format!("{throughout} threads waited throughout")),
    };
    let later = match later {
        0 => None,
        1 => Some("1 more wait had not ended: it counts up to the profile's end".to_owned()),
        _ => Some(format!("{later} more waits had not ended: they count up to the profile's end")),
    };
    throughout.into_iter().chain(later).collect()
}

/// A time of at least a microsecond.
fn told(time: Duration) -> Option<String> {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    (ns >= 1_000).then(|| stagelight::export::table::duration(ns))
}
