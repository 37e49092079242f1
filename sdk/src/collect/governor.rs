//! Holds what recording costs under a budget, by timing fewer of the queries that cost most.
//!
//! Each window it reckons, from counts that do not depend on the rates and the measured prices, what it would cost to time every query of each label
//! set. If all of that fits, all is timed. If not, a level is found such that the sets whose cost lies above it, brought down
//! to it, make the whole fit: so rare and slow statements stay fully timed, and the ones that are called by the million pay.
//! The reckoning does not depend on the rates in force, so it meets a change of load in one step and does not swing.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cpu_time;
use super::overhead::{Prices, prices};
use super::snapshot::{label_counts, stage_calls};
use crate::record::block::LabelCounts;
use crate::record::rates::{self, SLOWEST};

/// What the governor did last, in millionths, for the metrics.
static BUDGET_PPM: AtomicU64 = AtomicU64::new(0);
static SPENT_PPM: AtomicU64 = AtomicU64::new(0);
static THROTTLED: AtomicU64 = AtomicU64::new(0);

/// What the governor did in the last window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GovernorStats {
    /// The share of the process's CPU time that recording may take; 0 if no governor runs.
    pub budget: f64,
    /// The share that it took, by estimate.
    pub spent: f64,
    /// Label sets of which not all queries are timed.
    pub throttled: u64,
}

/// What the governor did in the last window.
#[must_use]
pub fn governor() -> GovernorStats {
    let share = |ppm: &AtomicU64| ppm.load(Ordering::Relaxed) as f64 / 1e6;
    GovernorStats {
        budget: share(&BUDGET_PPM),
        spent: share(&SPENT_PPM),
        throttled: THROTTLED.load(Ordering::Relaxed),
    }
}

pub(crate) struct Governor {
    budget: f64,
    cpu_ns: u64,
    /// Queries, timed queries and stage calls of each label set at the last look.
    before: Vec<LabelCounts>,
    /// All stage calls at the last look.
    stages: u64,
}

impl Governor {
    pub(crate) fn new(budget: f64) -> Self {
        BUDGET_PPM.store((budget * 1e6) as u64, Ordering::Relaxed);
        Self { budget, cpu_ns: cpu_time::process_ns(), before: label_counts(), stages: stage_calls() }
    }

    /// Looks at the window that ends now and sets the rates for the next.
    pub(crate) fn look(&mut self) {
        let (cpu_ns, counts) = (cpu_time::process_ns(), label_counts());
        let cpu = cpu_ns.saturating_sub(self.cpu_ns) as f64;
        let none = LabelCounts::default();
        let mut window: Vec<LabelCounts> = counts
            .iter()
            .enumerate()
            .map(|(set, now)| {
                let before = self.before.get(set).unwrap_or(&none);
                let queries = now.queries.saturating_sub(before.queries);
                // Stages are counted in timed queries alone, which may be none in a window. How many a query has is taken
                // from all of its statement so far.
                let each = now.stages as f64 / now.queries.max(1) as f64;
                LabelCounts {
                    queries,
                    timed: now.timed.saturating_sub(before.timed),
                    stages: (queries as f64 * each) as u64,
                }
            })
            .collect();
        let stages = stage_calls();
        let within: u64 = window.iter().skip(1).map(|counts| counts.stages).sum();
        if let Some(outside) = window.first_mut() {
            outside.stages = stages.saturating_sub(self.stages).saturating_sub(within);
        }
        (self.cpu_ns, self.before, self.stages) = (cpu_ns, counts, stages);
        // A process that does next to nothing is no ground to decide on.
        if cpu < 1e6 {
            return;
        }
        let prices = prices();
        let rates = decide(&window, &prices, cpu * self.budget, |set| rates::get(set as u32));
        for (set, k) in rates.iter().enumerate() {
            rates::set(set as u32, *k);
        }
        THROTTLED.store(rates.iter().filter(|&&k| k > 0).count() as u64, Ordering::Relaxed);
        SPENT_PPM.store((spent(&window, &prices) / cpu * 1e6) as u64, Ordering::Relaxed);
    }
}

impl Drop for Governor {
    /// Without a governor all is timed.
    fn drop(&mut self) {
        for set in 0..self.before.len() {
            rates::set(set as u32, 0);
        }
        BUDGET_PPM.store(0, Ordering::Relaxed);
        THROTTLED.store(0, Ordering::Relaxed);
    }
}

/// What the window's recording cost, in nanoseconds.
fn spent(window: &[LabelCounts], prices: &Prices) -> f64 {
    let cost = |counts: &LabelCounts| {
        // Nobody counts the outermost stages outside of queries apart: those are taken to be timed.
        let timed_share = if counts.queries == 0 { 1.0 } else { counts.timed as f64 / counts.queries as f64 };
        let stage = prices.counted + (prices.timed - prices.counted).max(0.0) * timed_share.min(1.0);
        counts.stages as f64 * stage + counts.queries as f64 * prices.labels
    };
    window.iter().map(cost).sum()
}

/// The exponent of each set's rate, such that recording a window like this one costs at most `budget_ns`. `present` are the
/// rates in force: one is only raised with a margin, so that a load at the border does not make it change at each look.
fn decide(window: &[LabelCounts], prices: &Prices, budget_ns: f64, present: impl Fn(usize) -> u8) -> Vec<u8> {
    /// What is left free of the budget before a set is timed more often.
    const MARGIN: f64 = 0.8;
    /// What may go into timing even where counting alone takes the budget, so that the rare are not punished for it.
    const LEAST: f64 = 0.1;

    let counting: f64 =
        window.iter().map(|c| c.stages as f64 * prices.counted + c.queries as f64 * prices.labels).sum();
    let timing: Vec<f64> =
        window.iter().map(|c| c.stages as f64 * (prices.timed - prices.counted).max(0.0)).collect();
    let budget = (budget_ns - counting).max(LEAST * budget_ns);
    let (must, may) = (level(&timing, budget), level(&timing, budget * MARGIN));
    let k = |cost: f64, level: f64| {
        if cost <= level {
            return 0;
        }
        // The next power of two that brings the cost down to the level.
        ((cost / level.max(f64::MIN_POSITIVE)).log2().ceil() as u64).min(u64::from(SLOWEST)) as u8
    };
    let rate = |(set, &cost): (usize, &f64)| {
        let (slower, faster, present) = (k(cost, must), k(cost, may), present(set));
        present.clamp(slower.min(faster), slower.max(faster))
    };
    timing.iter().enumerate().map(rate).collect()
}

/// The level such that the costs, those above it brought down to it, come to the budget. Infinite if they fit as they are.
fn level(costs: &[f64], budget: f64) -> f64 {
    let mut sorted: Vec<f64> = costs.iter().copied().filter(|cost| *cost > 0.0).collect();
    if sorted.iter().sum::<f64>() <= budget {
        return f64::INFINITY;
    }
    sorted.sort_by(f64::total_cmp);
    let mut left = budget;
    for (index, cost) in sorted.iter().enumerate() {
        let share = left / (sorted.len() - index) as f64;
        if *cost > share {
            return share;
        }
        left -= cost;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PRICES: Prices = Prices { timed: 24.0, counted: 4.0, labels: 8.0 };

    fn counts(queries: u64, stages_each: u64) -> LabelCounts {
        LabelCounts { queries, timed: queries, stages: queries * stages_each }
    }

    fn cost(window: &[LabelCounts], rates: &[u8]) -> f64 {
        let cost = |(c, k): (&LabelCounts, &u8)| {
            c.stages as f64 * (4.0 + 20.0 / f64::from(1_u32 << k)) + c.queries as f64 * 8.0
        };
        window.iter().zip(rates).map(cost).sum()
    }

    #[test]
    fn what_fits_is_all_timed() {
        let window = [counts(0, 0), counts(1000, 5), counts(10, 500)];
        assert_eq!(decide(&window, &PRICES, 1e6, |_| 0), [0, 0, 0]);
    }

    #[test]
    fn the_frequent_pay_and_the_rare_stay_fully_timed() {
        // A second of one core at 3 %: a million point selects, a hundred reports, a thousand updates.
        let window = [counts(0, 0), counts(400_000, 5), counts(100, 50), counts(1_000, 10)];
        let rates = decide(&window, &PRICES, 3e7, |_| 0);
        assert!(rates[1] > 0 && rates[2] == 0 && rates[3] == 0, "{rates:?}");
        assert!(cost(&window, &rates) <= 3e7);
    }

    #[test]
    fn a_tenfold_change_is_met_in_one_look_and_a_steady_load_changes_nothing() {
        let small = [counts(0, 0), counts(100_000, 5)];
        let large = [counts(0, 0), counts(600_000, 5)];
        let mut rates = decide(&small, &PRICES, 3e7, |_| 0);
        assert_eq!(rates, [0, 0]);
        for window in [large, large, large, small, small] {
            let next = decide(&window, &PRICES, 3e7, |set| rates[set]);
            assert!(cost(&window, &next) <= 3e7);
            assert_eq!(decide(&window, &PRICES, 3e7, |set| next[set]), next, "a second look changes nothing");
            rates = next;
        }
        assert_eq!(rates, [0, 0]);
    }

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        #[test]
        fn the_budget_holds_but_for_what_counting_alone_takes(
            load in prop::collection::vec((0..2_000_000_u64, 1..20_u64, 0..=SLOWEST), 1..50),
            budget in 1e6..1e8_f64,
        ) {
            let window: Vec<LabelCounts> = load.iter().map(|&(queries, stages, _)| counts(queries, stages)).collect();
            let rates = decide(&window, &PRICES, budget, |set| load[set].2);
            let counting = window.iter().map(|c| c.stages as f64 * 4.0 + c.queries as f64 * 8.0).sum::<f64>();
            prop_assert!(cost(&window, &rates) <= budget.max(counting + 0.1 * budget) * 1.001);
        }
    }
}
