//! A hundred stages, for what grows with their number.

use std::time::{Duration, Instant};

pub const STAGES: usize = 100;

/// Prefix of their names.
pub const PREFIX: &str = "hundred ";

macro_rules! hundred {
    ($($number:literal)*) => {
        /// Each runs for so many nanoseconds in a stage of its own.
        pub static HUNDRED: [fn(u64); STAGES] = [$(|ns| stagelight::stage_block!($number, { spin(ns) })),*];
    };
}

hundred! {
    "hundred 00" "hundred 01" "hundred 02" "hundred 03" "hundred 04"
    "hundred 05" "hundred 06" "hundred 07" "hundred 08" "hundred 09"
    "hundred 10" "hundred 11" "hundred 12" "hundred 13" "hundred 14"
    "hundred 15" "hundred 16" "hundred 17" "hundred 18" "hundred 19"
    "hundred 20" "hundred 21" "hundred 22" "hundred 23" "hundred 24"
    "hundred 25" "hundred 26" "hundred 27" "hundred 28" "hundred 29"
    "hundred 30" "hundred 31" "hundred 32" "hundred 33" "hundred 34"
    "hundred 35" "hundred 36" "hundred 37" "hundred 38" "hundred 39"
    "hundred 40" "hundred 41" "hundred 42" "hundred 43" "hundred 44"
    "hundred 45" "hundred 46" "hundred 47" "hundred 48" "hundred 49"
    "hundred 50" "hundred 51" "hundred 52" "hundred 53" "hundred 54"
    "hundred 55" "hundred 56" "hundred 57" "hundred 58" "hundred 59"
    "hundred 60" "hundred 61" "hundred 62" "hundred 63" "hundred 64"
    "hundred 65" "hundred 66" "hundred 67" "hundred 68" "hundred 69"
    "hundred 70" "hundred 71" "hundred 72" "hundred 73" "hundred 74"
    "hundred 75" "hundred 76" "hundred 77" "hundred 78" "hundred 79"
    "hundred 80" "hundred 81" "hundred 82" "hundred 83" "hundred 84"
    "hundred 85" "hundred 86" "hundred 87" "hundred 88" "hundred 89"
    "hundred 90" "hundred 91" "hundred 92" "hundred 93" "hundred 94"
    "hundred 95" "hundred 96" "hundred 97" "hundred 98" "hundred 99"
}

#[inline(always)]
fn spin(ns: u64) {
    if ns > 0 {
        let (start, wait) = (Instant::now(), Duration::from_nanos(ns));
        while start.elapsed() < wait {
            std::hint::spin_loop();
        }
    }
}
