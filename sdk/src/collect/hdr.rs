//! A distribution in the form of the `hdrhistogram` crate, whose V2 bytes other tools read, merge and draw.

use super::histogram::Histogram;

impl Histogram {
    /// The same distribution as an `hdrhistogram`, of nanoseconds at two significant digits: each cell's calls at the
    /// cell's middle, so that a quantile is off by what it is here and by 1 % more.
    ///
    /// Where only some calls were timed, the counts are those that the timed ones stand for, scaled to the exact number of
    /// calls: its `len` is always [`count`](Self::count), unless nothing was timed and it is empty. A value above
    /// [`max`](Self::max) counts as that.
    #[must_use]
    pub fn to_hdr(&self) -> hdrhistogram::Histogram<u64> {
        /// 1 to 2^44 ns, at two digits: always within what the crate allows.
        const HIGHEST: u64 = 1 << 44;
        let mut hdr = hdrhistogram::Histogram::new_with_max(HIGHEST, 2)
            .unwrap_or_else(|_| unreachable!("the bounds are constants that are valid"));
        let mut seen = 0;
        for (middle, count) in self.filled() {
            // Of the calls up to here less those before, so that no rounding changes the sum.
            let before = self.scaled(seen);
            seen += count;
            hdr.saturating_record_n(middle, self.scaled(seen) - before);
        }
        hdr
    }

    /// A part of the weight, as calls.
    fn scaled(&self, part: u64) -> u64 {
        (u128::from(part) * u128::from(self.count()) / u128::from(self.weight().max(1))) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::octaves::{COARSE, FINE, Scale};
    use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer, V2Serializer};
    use proptest::prelude::*;

    fn of(scale: Scale, values: &[u64], weight: u64, calls: u64) -> Histogram {
        let cells = values.iter().map(|&value| (scale.index(value), weight)).collect();
        let max = values.iter().copied().max().unwrap_or(0);
        Histogram::new(scale, cells, calls, values.len() as u64, max)
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn quantiles_agree_within_both_errors_and_survive_the_bytes(
            mut values in prop::collection::vec(prop_oneof![0..100_u64, 1..10_000_000_000_u64, 0..1_u64 << 43], 1..300),
            (scale, error) in prop_oneof![Just((FINE, 1.0 / 64.0)), Just((COARSE, 1.0 / 16.0))],
            q in 0.0..=1.0_f64,
        ) {
            let histogram = of(scale, &values, 1, values.len() as u64);
            let hdr = histogram.to_hdr();
            prop_assert_eq!(hdr.len(), histogram.count());
            values.sort_unstable();
            let exact = values[((q * values.len() as f64).ceil() as usize).max(1) - 1] as f64;
            let (ours, theirs) = (histogram.quantile(q) as f64, hdr.value_at_quantile(q) as f64);
            prop_assert!((theirs - ours).abs() <= ours * 0.01 + 1.0, "{theirs} for {ours}");
            let both = (1.0 + error) * 1.01 - 1.0;
            prop_assert!((theirs - exact).abs() <= exact * both + 2.0, "{theirs} for {exact}");

            let (mut bytes, mut deflated) = (Vec::new(), Vec::new());
            V2Serializer::new().serialize(&hdr, &mut bytes).unwrap();
            V2DeflateSerializer::new().serialize(&hdr, &mut deflated).unwrap();
            for bytes in [&bytes, &deflated] {
                let back: hdrhistogram::Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                prop_assert_eq!(&back, &hdr);
            }
        }

        #[test]
        fn scaling_keeps_the_number_of_calls(
            values in prop::collection::vec(0..1_u64 << 43, 1..100),
            exponent in 0..16_u32,
            calls in 1..1_000_000_u64,
        ) {
            let calls = calls + values.len() as u64;
            prop_assert_eq!(of(FINE, &values, 1 << exponent, calls).to_hdr().len(), calls);
        }
    }

    #[test]
    fn the_ends_are_kept() {
        assert!(Histogram::default().to_hdr().is_empty());
        let untimed = Histogram::new(FINE, Default::default(), 7, 0, 0);
        assert!(untimed.to_hdr().is_empty());
        // Longer than the longest cell: counted, as that.
        let longest = of(FINE, &[u64::MAX, 1], 1, 2).to_hdr();
        assert_eq!((longest.len(), longest.min()), (2, 1));
        assert!(longest.max() as f64 > 0.97 * (1_u64 << 43) as f64);
    }
}
