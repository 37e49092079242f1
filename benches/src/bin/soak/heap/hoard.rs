//! Tenants that keep known amounts of memory, and what a heap profile says of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use stagelight::query;

use super::piece::Piece;
use super::random::Random;

/// What a tenant keeps. Its pieces come and go all the time, on whatever thread.
pub(crate) struct Hoard {
    tenant: &'static str,
    /// About so many bytes.
    aim: u64,
    kept: Mutex<Vec<Piece>>,
}

impl Hoard {
    const fn new(tenant: &'static str, mib: u64) -> Self {
        Self { tenant, aim: mib << 20, kept: Mutex::new(Vec::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Piece>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces and resizes some of what is kept. All that is kept is allocated under the hoard's lock.
    pub(crate) fn turn_over(&self, random: &mut Random) {
        const STEPS: usize = 64;
        let mut kept = self.lock();
        // Outside of the query, for what holds the pieces is no piece.
        kept.reserve(STEPS);
        turn_over(self.tenant, &mut kept, self.aim, random, STEPS);
    }
}

#[query(name = "soak.keep", key = "keep", tenant = tenant)]
fn turn_over(tenant: &str, kept: &mut Vec<Piece>, aim: u64, random: &mut Random, steps: usize) {
    const MOST: usize = 1 << 17;
    let mut bytes = kept.iter().map(Piece::usable).sum::<u64>();
    for _ in 0..steps {
        let place = random.below(kept.len());
        match (random.below(8), kept.get_mut(place)) {
            (0, Some(piece)) => {
                bytes -= piece.usable();
                piece.resize((piece.size() + random.below(piece.size())).min(MOST));
                bytes += piece.usable();
            }
            (1, Some(piece)) => {
                bytes -= piece.usable();
                piece.resize(piece.size() - random.below(piece.size()));
                bytes += piece.usable();
            }
            (2..=4, Some(_)) if bytes > aim / 2 => bytes -= kept.swap_remove(place).usable(),
            _ if bytes < aim => {
                let piece = Piece::new(random.size(6, 15));
                bytes += piece.usable();
                kept.push(piece);
            }
            _ => {}
        }
    }
}

pub(crate) static HOARDS: [Hoard; 6] = [
    Hoard::new("eight", 8),
    Hoard::new("twelve", 12),
    Hoard::new("sixteen", 16),
    Hoard::new("twenty-four", 24),
    Hoard::new("thirty-two", 32),
    Hoard::new("forty-eight", 48),
];

/// Gives all back.
pub(crate) fn clear() {
    HOARDS.iter().for_each(|hoard| hoard.lock().clear());
}

/// What a profile says of one tenant, beside the truth.
pub(crate) struct Verdict {
    pub(crate) tenant: &'static str,
    pub(crate) truth: f64,
    pub(crate) estimate: f64,
    /// Samples that the truth leads one to expect.
    pub(crate) samples: f64,
}

impl Verdict {
    /// Off by so much of the truth.
    pub(crate) fn error(&self) -> f64 {
        (self.estimate / self.truth - 1.0).abs()
    }

    /// May be off by so much: three standard errors or more.
    pub(crate) fn allowed(&self) -> f64 {
        3.0 / self.samples.sqrt()
    }

    pub(crate) fn holds(&self) -> bool {
        self.samples >= 100.0 && self.error() <= self.allowed()
    }
}

/// Compares, while nobody changes what is kept; all else goes on.
pub(crate) fn compare() -> Result<Vec<Verdict>, stagelight_profiler::Error> {
    let kept = HOARDS.each_ref().map(Hoard::lock);
    let profile = stagelight_profiler::heap().run()?;
    let (period, estimates) = (profile.stats().period as f64, profile.label_totals("tenant"));
    let verdict = |(hoard, kept): (&Hoard, &MutexGuard<'_, Vec<Piece>>)| {
        let bytes = || kept.iter().map(|piece| piece.usable() as f64);
        let estimate = estimates.iter().find(|(tenant, _)| tenant == hoard.tenant);
        Verdict {
            tenant: hoard.tenant,
            truth: bytes().sum(),
            estimate: estimate.map_or(0.0, |(_, bytes)| *bytes as f64),
            samples: bytes().map(|bytes| -(-bytes / period).exp_m1()).sum(),
        }
    };
    Ok(HOARDS.iter().zip(&kept).map(verdict).collect())
}
