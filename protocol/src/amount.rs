//! Amounts of the network's unit, in base units.
//!
//! All arithmetic is checked; a product goes through `u128`. Nothing here rounds silently: a division says who
//! keeps the remainder.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

/// Base units in one whole unit.
pub const BASE_UNITS_PER_UNIT: u64 = 1_000_000_000;

/// Digits behind the point of a whole unit.
const DECIMALS: usize = 9;

/// An amount in base units.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub struct Amount(u64);

/// Why a text is not an amount.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AmountError {
    /// Something other than digits and one point.
    #[error("{text:?} is not an amount: write whole units such as 12 or 0.5")]
    NotANumber {
        /// What was given.
        text: String,
    },
    /// More digits behind the point than a base unit has.
    #[error("{text:?} has {digits} digits behind the point, {DECIMALS} at most")]
    TooFine {
        /// What was given.
        text: String,
        /// Digits behind the point.
        digits: usize,
    },
    /// More than `u64::MAX` base units.
    #[error("{text:?} is more than an amount can hold")]
    TooLarge {
        /// What was given.
        text: String,
    },
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of `units` base units.
    #[must_use]
    pub const fn from_base_units(units: u64) -> Self {
        Self(units)
    }

    /// An amount of `units` whole units, or `None` beyond `u64` base units.
    #[must_use]
    pub const fn from_units(units: u64) -> Option<Self> {
        match units.checked_mul(BASE_UNITS_PER_UNIT) {
            Some(base_units) => Some(Self(base_units)),
            None => None,
        }
    }

    /// The amount in base units.
    #[must_use]
    pub const fn base_units(self) -> u64 {
        self.0
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `self + other`, or `None` on overflow.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// `self - other`, or `None` if `other` is larger.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// `self + other`, at most the largest amount.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self - other`, at least nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self * numerator / denominator`, rounded down; the caller keeps the remainder.
    ///
    /// A denominator of 0 gives nothing; a quotient beyond `u64` gives the largest amount.
    #[must_use]
    pub const fn mul_ratio(self, numerator: u64, denominator: u64) -> Self {
        let product = (self.0 as u128).saturating_mul(numerator as u128);
        match product.checked_div(denominator as u128) {
            Some(quotient) if quotient <= u64::MAX as u128 => Self(quotient as u64),
            Some(_) => Self(u64::MAX),
            None => Self::ZERO,
        }
    }
}

impl Sum for Amount {
    /// Adds up, at most the largest amount; the ledger checks sums in `u128` where it depends on them.
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for Amount {
    /// Whole units with as many decimals as needed: `1.5`, `0.000000001`, `12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / BASE_UNITS_PER_UNIT, self.0 % BASE_UNITS_PER_UNIT);
        if rest == 0 {
            return f.pad(&whole.to_string());
        }
        let decimals = format!("{rest:0DECIMALS$}");
        f.pad(&format!("{whole}.{}", decimals.trim_end_matches('0')))
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(AmountError::NotANumber {
                text: text.chars().take(40).collect(),
            });
        }
        if decimals.len() > DECIMALS {
            return Err(AmountError::TooFine {
                text: text.chars().take(40).collect(),
                digits: decimals.len(),
            });
        }
        let too_large = || AmountError::TooLarge {
            text: text.chars().take(40).collect(),
        };
        let whole: u64 = whole.parse().map_err(|_| too_large())?;
        let rest: u64 = format!("{decimals:0<DECIMALS$}")
            .parse()
            .map_err(|_| too_large())?;
        let base_units = whole
            .checked_mul(BASE_UNITS_PER_UNIT)
            .and_then(|units| units.checked_add(rest));
        base_units.map(Self).ok_or_else(too_large)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, base_units: u64, shown: &str) {
        let amount: Amount = text.parse().unwrap();
        assert_eq!(amount.base_units(), base_units);
        assert_eq!(amount.to_string(), shown);
    }

    #[test]
    fn amounts_are_read_and_shown_in_whole_units() {
        check("0", 0, "0");
        check("12", 12_000_000_000, "12");
        check("0.5", 500_000_000, "0.5");
        check("1.000000001", 1_000_000_001, "1.000000001");
        check("18446744073.709551615", u64::MAX, "18446744073.709551615");
    }

    #[test]
    fn a_text_that_is_no_amount_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "1e9",
            "1,5",
            "1.0000000001",
            "18446744073.709551616",
            "١",
        ] {
            assert!(text.parse::<Amount>().is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn a_ratio_rounds_down() {
        assert_eq!(Amount(10).mul_ratio(1, 3), Amount(3));
        assert_eq!(Amount(10).mul_ratio(1, 0), Amount::ZERO);
        assert_eq!(Amount(u64::MAX).mul_ratio(u64::MAX, 1), Amount(u64::MAX));
    }
}
