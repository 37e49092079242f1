//! What must be known of a profile beside its figures.

use std::time::Duration;

use super::{Kind, Profile};

impl Profile {
    /// What makes the profile say less, or other, than it seems to, and what it leaves out. Each is a
    /// sentence of its own; what matters most comes first. Every format with a place for them has them.
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

/// A time of at least a microsecond.
fn told(time: Duration) -> Option<String> {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    (ns >= 1_000).then(|| stagelight::export::table::duration(ns))
}
