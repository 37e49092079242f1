//! What values are measured in, and how people read them.

use super::changed::Changed;
use crate::profile::{Kind, Profile};

/// The unit of a profile's values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Nanoseconds,
    Bytes,
}

impl Kind {
    pub(super) fn unit(self) -> Unit {
        match self {
            Kind::Cpu
            | Kind::CpuChange
            | Kind::OffCpu
            | Kind::OffCpuChange
            | Kind::Wall
            | Kind::WallChange
            | Kind::Block
            | Kind::BlockChange
            | Kind::Mutex
            | Kind::MutexChange => Unit::Nanoseconds,
            Kind::Heap | Kind::HeapGrowth | Kind::Allocations | Kind::AllocationsChange => Unit::Bytes,
        }
    }
}

impl Profile {
    /// A value with its unit, in few digits.
    pub(super) fn amount(&self, value: i64) -> String {
        let units: &[(&str, f64)] = match self.kind.unit() {
            Unit::Nanoseconds => &[("s", 1e9), ("ms", 1e6), ("us", 1e3)],
            Unit::Bytes => &[("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)],
        };
        if value == 0 {
            return "0".into();
        }
        let size = value.unsigned_abs() as f64;
        let (unit, factor) =
            *units.iter().find(|(_, factor)| size >= *factor).unwrap_or(&units[units.len() - 1]);
        let text = format!("{:.2}", value as f64 / factor);
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    }

    /// The same with all that must be known of the profile beside it.
    pub(super) fn subtitle_with_remarks(&self) -> String {
        [vec![self.subtitle()], self.remarks()].concat().join("; ")
    }

    /// What a report rests on, in one line.
    pub(super) fn subtitle(&self) -> String {
        let stats = &self.stats;
        let dropped: u64 = stats.dropped.iter().map(|(_, count)| count).sum();
        let seconds = stats.duration.as_secs_f64();
        let basis = format!("{} samples by {}", stats.samples, stats.rung);
        let basis = match self.kind {
            Kind::Heap => basis,
            Kind::HeapGrowth => format!("{basis} over {seconds:.1} s"),
            _ => format!("{basis} over {seconds:.1} s, {dropped} dropped"),
        };
        if !self.kind.is_change() {
            return basis;
        }
        // Some formats leave out what there is less of, and all shares are of one of the two or
        // both.
        let Changed { more, less } = self.changed();
        format!("{basis}; {} more and {} less", self.amount(more), self.amount(less))
    }
}
