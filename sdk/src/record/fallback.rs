//! What a set of labels gives up where no number is left for it: one kind after the other, so that
//! it keeps the rest.
//!
//! The order follows from how many values each kind has. The first to go is one without which all
//! combinations of the others' values fit. Where several would do, the user goes before the
//! database, the database before the statement, and the tenant last, unless there are far more
//! tenants than statements. Where none would do, it is the one with most values. So 60,000 users
//! cost the user alone, and a program that writes constants into its statements loses statements
//! and keeps tenants.
//!
//! A step down the ladder is worth nothing without numbers for the sets that it leads to. So each
//! step has room of its own, which sets on the steps above leave free: twice what the combinations
//! known so far take.

use super::label_kind::{KINDS, LabelKind, MAX_SETS};

/// Numbers that sets can take which come in time; the rest is for late ones.
pub(crate) const NUMBERS: usize = MAX_SETS - LATE_SETS - 2;

/// Sets kept back for heavy ones that come when all others are given. Each text that gets an entry
/// late takes one at least, so this bounds those too.
pub(crate) const LATE_SETS: usize = 1024;

/// Combinations that a step can have room for.
const FITS: usize = 2300;

/// Room of a step whose combinations don't fit: some of its sets are kept, and all others go a step
/// down.
const SPILL: usize = 1024;

/// Room of the first step whose combinations fit, at least: values are yet to come.
const LEAST: usize = 512;

/// Room of the steps below it, of several kinds and of one: they serve when more values come than
/// anyone could know.
const BELOW: usize = 256;
const BELOW_OF_ONE: usize = 128;

/// Room of the last step, where each kind is `other` or was not said.
const LAST: usize = 1 << KINDS;

/// What sets that gave up nothing can take in any case.
const WHOLE: usize = 256;

/// From when on there are far more tenants than statements.
const FAR_MORE: usize = 16;

/// Who goes first among equals.
const ORDER: [LabelKind; KINDS] =
    [LabelKind::User, LabelKind::Database, LabelKind::Statement, LabelKind::Tenant];

/// How many values a kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Those that have an entry.
    pub(crate) values: usize,
    /// There are more than can have one.
    pub(crate) full: bool,
}

impl Known {
    /// What combinations are reckoned with.
    fn count(self) -> usize {
        if self.full { usize::MAX } else { self.values.max(1) }
    }
}

/// The kinds in the order in which they are given up, and what is kept free for those who have
/// given up more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ladder {
    pub(crate) order: [usize; KINDS],
    /// By the number of kinds that were given up.
    reserve: [usize; KINDS + 1],
}

impl Ladder {
    /// The ladder for kinds that have so many values.
    pub(crate) fn new(known: &[Known; KINDS]) -> Self {
        let mut left = ORDER.map(|kind| kind as usize).to_vec();
        let mut order = [0; KINDS];
        let mut rooms = [0; KINDS + 1];
        let mut fit = false;
        for step in 0..KINDS {
            let place = first_to_go(known, &left);
            order[step] = left.remove(place);
            rooms[step + 1] = room(known, &left, fit);
            fit |= combinations(known, &left) <= FITS;
        }
        let mut reserve = [0; KINDS + 1];
        for step in (0..KINDS).rev() {
            reserve[step] = reserve[step + 1] + rooms[step + 1];
        }
        Self { order, reserve: reserve.map(|reserve| reserve.min(NUMBERS - WHOLE)) }
    }

    /// Numbers that a set which has given up so many kinds leaves to others.
    pub(crate) fn reserve(&self, given_up: usize) -> usize {
        self.reserve[given_up.min(KINDS)]
    }
}

/// The place in `left` of the kind to give up.
fn first_to_go(known: &[Known; KINDS], left: &[usize]) -> usize {
    let count = |place: usize| known[left[place]].count();
    // Giving up a kind that has one value gains nothing.
    let places = || (0..left.len()).filter(|&place| count(place) > 1);
    let without = |place: usize| {
        let rest: Vec<usize> =
            left.iter().enumerate().filter(|&(at, _)| at != place).map(|(_, &kind)| kind).collect();
        combinations(known, &rest)
    };
    let mut fitting = places().filter(|&place| without(place) <= FITS);
    let place = match fitting.next() {
        Some(first) if left[first] == LabelKind::Statement as usize => {
            fitting.find(|&place| count(place) / FAR_MORE >= count(first)).or(Some(first))
        }
        Some(first) => Some(first),
        // Of those with most, the first.
        None => places().rev().max_by_key(|&place| count(place)),
    };
    place.unwrap_or(0)
}

fn combinations(known: &[Known; KINDS], kinds: &[usize]) -> usize {
    kinds.iter().fold(1, |product: usize, &kind| product.saturating_mul(known[kind].count()))
}

/// Room for the sets that tell these kinds apart, below a step whose combinations fit or not.
fn room(known: &[Known; KINDS], kinds: &[usize], below: bool) -> usize {
    let several: Vec<Known> =
        kinds.iter().map(|&kind| known[kind]).filter(|known| known.count() > 1).collect();
    match (&several[..], combinations(known, kinds)) {
        ([], _) => LAST,
        ([_], _) if below => BELOW_OF_ONE,
        // However many there will be, no more have an entry.
        ([one], _) => (2 * one.values + LAST).clamp(BELOW_OF_ONE, SPILL + LAST),
        _ if below => BELOW,
        (_, fits @ ..=FITS) => (2 * fits).clamp(LEAST, FITS),
        _ => SPILL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: usize = 0;
    const T: usize = 1;
    const U: usize = 2;
    const D: usize = 3;
    const FULL: usize = 1022;

    /// Statements, tenants, users and databases.
    fn ladder(values: [usize; KINDS]) -> Ladder {
        Ladder::new(&values.map(|values| Known { values, full: values >= FULL }))
    }

    /// How many sets of that kind get a number after all that have given up less took what they
    /// could.
    fn left_for(ladder: &Ladder, given_up: usize) -> usize {
        match given_up {
            0 => NUMBERS - ladder.reserve(0),
            _ => ladder.reserve(given_up - 1) - ladder.reserve(given_up),
        }
    }

    #[test]
    fn the_one_that_explodes_goes_first() {
        for exploding in [S, T, U, D] {
            let mut values = [7, 8, 5, 3];
            values[exploding] = FULL;
            let ladder = ladder(values);
            let rest: usize = values.iter().product::<usize>() / FULL;
            assert_eq!(ladder.order[0], exploding, "{ladder:?}");
            assert!(left_for(&ladder, 1) >= rest, "{ladder:?}");
        }
    }

    #[test]
    fn among_equals_the_user_goes_first_and_the_tenant_last() {
        assert_eq!(ladder([40, 40, 40, 40]).order, [U, D, S, T]);
        assert_eq!(ladder([FULL; KINDS]).order, [U, D, S, T]);
        assert_eq!(ladder([7, 8, 37, 1]).order[..3], [U, S, T]);
        // A hundred tenants are not far more than 21 statements; 900 are far more than six.
        assert_eq!(ladder([21, 100, 1, 1]).order[..2], [S, T]);
        assert_eq!(ladder([6, 900, 1, 1]).order[..2], [T, S]);
        // What fits without the databases need not lose its users.
        assert_eq!(ladder([7, 8, 5, 400]).order[0], D);
    }

    #[test]
    fn pairs_of_statement_and_tenant_have_room() {
        assert!(left_for(&ladder([7, 8, 37, 1]), 0) >= 7 * 8 * 37);
        assert!(left_for(&ladder([21, 100, 1, 1]), 0) >= 21 * 100);
        let users = ladder([21, 100, FULL, 1]);
        assert!(users.order[0] == U && left_for(&users, 1) >= 21 * 100, "{users:?}");
        let databases = ladder([21, 100, FULL, 2]);
        assert_eq!(databases.order[..2], [U, D]);
        assert!(left_for(&databases, 2) >= 21 * 100, "{databases:?}");
    }

    #[test]
    fn tenants_have_room_when_all_else_explodes() {
        let ladder = ladder([FULL; KINDS]);
        assert!(left_for(&ladder, 3) > FULL && left_for(&ladder, 0) >= WHOLE, "{ladder:?}");
    }

    proptest! {
        #![proptest_config(crate::testing::cases(256))]
        #[test]
        fn each_kind_stands_on_the_ladder_once_and_steps_down_are_never_without_room(
            values in prop::array::uniform4(1..=FULL)
        ) {
            let ladder = ladder(values);
            let mut order = ladder.order;
            order.sort_unstable();
            prop_assert_eq!(order, [S, T, U, D]);
            for given_up in 0..=KINDS {
                prop_assert!(given_up == 0 || ladder.reserve(given_up - 1) >= ladder.reserve(given_up));
            }
            prop_assert_eq!(ladder.reserve(KINDS), 0);
            prop_assert!(left_for(&ladder, 0) >= WHOLE && left_for(&ladder, KINDS) >= LAST);
            // What fits without the first to go keeps all of the rest.
            let rest: usize = ladder.order[1..].iter().map(|&kind| values[kind]).product();
            let telling = ladder.order[1..].iter().all(|&kind| values[kind] < FULL);
            if telling && rest <= FITS {
                prop_assert!(left_for(&ladder, 1) >= rest, "{:?}", ladder);
            }
        }
    }
}
