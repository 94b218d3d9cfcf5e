//! How stake is spread over validators.

use std::fmt;

/// Base units that all validators hold together: ten million units, so that rounding is far below a share.
pub const STAKE_TOTAL: u64 = 10_000_000_000_000_000;

/// A table of stakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StakeTable {
    /// All the same.
    Equal,
    /// Five large ones with 25, 13.5, 11, 9 and 6.5 %, the rest the same: the delegated stake of a large network in
    /// June 2024 as its holders reported it.
    TopFive,
    /// The k-th holds a k-th of the first.
    HeavyTailed,
}

/// Shares of the five large ones, in thousandths.
const TOP_FIVE_MILLI: [f64; 5] = [250.0, 135.0, 110.0, 90.0, 65.0];

impl StakeTable {
    /// Every table.
    pub const ALL: [Self; 3] = [Self::Equal, Self::TopFive, Self::HeavyTailed];

    /// Shares of `count` validators, largest first, summing to 1. With five or fewer, the top five is cut and scaled.
    #[must_use]
    pub fn shares(self, count: usize) -> Vec<f64> {
        let rest = count.saturating_sub(TOP_FIVE_MILLI.len()).max(1) as f64;
        let small = (1_000.0 - TOP_FIVE_MILLI.iter().sum::<f64>()) / rest;
        let of_place = |place: usize| match self {
            Self::Equal => 1.0,
            Self::TopFive => TOP_FIVE_MILLI.get(place).copied().unwrap_or(small),
            Self::HeavyTailed => 1.0 / (place as f64 + 1.0),
        };
        normalized((0..count).map(of_place).collect())
    }
}

impl fmt::Display for StakeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "equal stakes",
            Self::TopFive => "five large stakes",
            Self::HeavyTailed => "heavy-tailed stakes",
        })
    }
}

/// Base units for shares of [`STAKE_TOTAL`], rounded down.
#[must_use]
pub fn base_units(shares: &[f64]) -> Vec<u64> {
    shares
        .iter()
        .map(|share| (share * STAKE_TOTAL as f64) as u64)
        .collect()
}

/// Values divided by their sum; left alone when that is 0.
#[must_use]
pub fn normalized(values: Vec<f64>) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    if sum > 0.0 {
        values.into_iter().map(|value| value / sum).collect()
    } else {
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one_and_descend() {
        for table in StakeTable::ALL {
            for count in [1, 5, 16, 64] {
                let shares = table.shares(count);
                assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{table}");
                assert!(shares.is_sorted_by(|left, right| left >= right), "{table}");
            }
        }
    }

    #[test]
    fn the_table_of_five_has_its_figures() {
        let shares = StakeTable::TopFive.shares(16);
        assert!((shares[0] - 0.25).abs() < 1e-12);
        assert!((shares[..5].iter().sum::<f64>() - 0.65).abs() < 1e-12);
        assert!((shares[5] - 0.35 / 11.0).abs() < 1e-12);
    }
}
