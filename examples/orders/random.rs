//! Random numbers for the load: SplitMix64, which is short and good enough for a dice.

pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.between(0, 99) < i64::from(percent)
    }

    /// The choice that a throw of the dice falls on; each has its share, and the shares add up to 100.
    pub fn choose<T>(&mut self, choices: impl IntoIterator<Item = (u32, T)>) -> T {
        let mut thrown = self.between(0, 99);
        for (share, choice) in choices {
            thrown -= i64::from(share);
            if thrown < 0 {
                return choice;
            }
        }
        unreachable!("the shares add up to 100")
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
