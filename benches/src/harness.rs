//! Rounds that take turns, and what is told of them: median and quartiles.

use std::hint::black_box;

use crate::cpu_time::thread_ns;

/// One variant of a comparison: runs a round and gives its figure, as a rule nanoseconds a call.
pub type Variant<'a, T = f64> = Box<dyn FnMut() -> T + 'a>;

/// The figures of a variant, one a round.
#[derive(Clone, Debug)]
pub struct Series(Vec<f64>);

/// Runs the variants in turns and gives the figures of each. See [`turns`].
pub fn interleave<const N: usize>(rounds: usize, variants: [Variant<'_>; N]) -> [Series; N] {
    turns(rounds, variants).map(Series)
}

/// Runs the variants in turns for so many rounds, after one that does not count. Each round begins with the next
/// variant, so that none always follows the same one.
pub fn turns<T, const N: usize>(rounds: usize, mut variants: [Variant<'_, T>; N]) -> [Vec<T>; N] {
    let mut figures = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for turn in 0..N {
            let index = (round + turn) % N;
            let figure = variants[index]();
            if round > 0 {
                figures[index].push(figure);
            }
        }
    }
    figures
}

/// Nanoseconds a call of `call` takes of this thread's CPU time. That is the time of the clock on the wall, as nothing here
/// waits for anything, but for what other processes take of the machine meanwhile.
#[inline(never)]
pub fn per_call(calls: u32, mut call: impl FnMut(u64) -> u64) -> f64 {
    let start = thread_ns();
    for value in 0..u64::from(calls) {
        black_box(call(black_box(value)));
    }
    (thread_ns() - start) / f64::from(calls)
}

impl Series {
    /// From the figures of all rounds.
    pub fn new(figures: Vec<f64>) -> Self {
        Self(figures)
    }

    /// A figure for each round from the figures that two variants had in it.
    pub fn with(&self, other: &Series, figure: impl Fn(f64, f64) -> f64) -> Series {
        Series(self.0.iter().zip(&other.0).map(|(&one, &two)| figure(one, two)).collect())
    }

    /// This over the other, round by round.
    pub fn over(&self, other: &Series) -> Series {
        self.with(other, |one, two| one / two)
    }

    /// This less the other, round by round.
    pub fn above(&self, other: &Series) -> Series {
        self.with(other, |one, two| one - two)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The first and the third quartile.
    pub fn quartiles(&self) -> (f64, f64) {
        (self.quantile(0.25), self.quantile(0.75))
    }

    fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * q).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

impl From<f64> for Series {
    fn from(figure: f64) -> Self {
        Self(vec![figure])
    }
}
