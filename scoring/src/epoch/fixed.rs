//! Fixed-point numbers of the epoch: signed, 64 bits, 32 of them fraction.
//!
//! Every rounding of the epoch happens in this file. Nothing here panics: sums and products saturate, and a
//! quotient that does not exist or does not fit is 0.
//!
//! | operation | rounding |
//! | --- | --- |
//! | [`Fixed32::plus`], [`Fixed32::minus`] | exact |
//! | [`Fixed32::times`] | down (towards minus infinity) |
//! | [`Fixed32::over`], [`Fixed32::ratio`] | towards zero |
//! | [`Fixed32::to_u16_share`], [`Fixed32::share_of`] | down |

/// A number with 32 fraction bits: `1.0` is `2^32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct Fixed32(i64);

/// Fraction bits of [`Fixed32`].
const FRACTION_BITS: u32 = 32;

impl Fixed32 {
    /// The number 0.
    pub const ZERO: Self = Self(0);
    /// The number 1.
    pub const ONE: Self = Self(1 << FRACTION_BITS);
    /// One half.
    pub const HALF: Self = Self(1 << (FRACTION_BITS - 1));
    /// Euler's number as the reference keeps it: cut to 23 fraction bits.
    const E: Self = Self(0x0002_b7e1_5000);
    /// The largest argument of [`Fixed32::exp`]: `e^20` still fits 31 integer bits.
    const EXP_ARGUMENT_MAX: Self = Self(20 << FRACTION_BITS);
    /// The last term of the exponential series.
    const EXP_TERM_MAX: u64 = 31;

    /// Takes the raw integer, in units of `2^-32`.
    #[must_use]
    pub const fn from_bits(bits: i64) -> Self {
        Self(bits)
    }

    /// Gives the raw integer, in units of `2^-32`.
    #[must_use]
    pub const fn to_bits(self) -> i64 {
        self.0
    }

    /// Gives `numerator / denominator` of two whole numbers, rounded towards zero; 0 when `denominator` is 0.
    #[must_use]
    pub fn ratio(numerator: u64, denominator: u64) -> Self {
        let quotient = match numerator.checked_shl(FRACTION_BITS) {
            // In 64 bits where the numerator leaves room: this division is on every hot path.
            Some(shifted) if numerator <= u64::from(u32::MAX) => {
                shifted.checked_div(denominator).map(u128::from)
            }
            _ => (u128::from(numerator) << FRACTION_BITS).checked_div(u128::from(denominator)),
        };
        Self(i64::try_from(quotient.unwrap_or(0)).unwrap_or(i64::MAX))
    }

    /// Gives the sum, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Gives the difference, saturating.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Gives the product, rounded down, saturating.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        let wide = i128::from(self.0).wrapping_mul(i128::from(other.0)) >> FRACTION_BITS;
        let limit = if wide < 0 { i64::MIN } else { i64::MAX };
        Self(i64::try_from(wide).unwrap_or(limit))
    }

    /// Gives the quotient, rounded towards zero; 0 when `other` is 0 or the quotient does not fit.
    #[must_use]
    pub fn over(self, other: Self) -> Self {
        match (u32::try_from(self.0), u64::try_from(other.0)) {
            (Ok(numerator), Ok(denominator)) => Self::ratio(u64::from(numerator), denominator),
            _ => self.over_wide(other),
        }
    }

    /// The quotient of numbers that are negative or not below 1.
    fn over_wide(self, other: Self) -> Self {
        let quotient = (i128::from(self.0) << FRACTION_BITS).checked_div(i128::from(other.0));
        Self(quotient.and_then(|wide| i64::try_from(wide).ok()).unwrap_or(0))
    }

    /// Gives e to this power, with the argument first brought into ±20.
    ///
    /// - **Formula**: 1 + x + x²/2! + ... to the term of index 31, each term being the one before times x,
    ///   rounded down, over its index, rounded down; for a negative argument, 1 over the series of its size.
    /// - An argument of exactly 1 gives Euler's number to 23 bits, not the series.
    #[must_use]
    pub fn exp(self) -> Self {
        if self == Self::ONE {
            return Self::E;
        }
        let argument = self.0.unsigned_abs().min(Self::EXP_ARGUMENT_MAX.0.unsigned_abs());
        let series = Self(i64::try_from(exp_series(argument)).unwrap_or(i64::MAX));
        if self.0 < 0 {
            Self::ONE.over(series)
        } else {
            series
        }
    }

    /// Gives this share of `u16::MAX`, rounded down and brought into `0..=u16::MAX`; 1 gives `u16::MAX`.
    #[must_use]
    pub fn to_u16_share(self) -> u16 {
        u16::try_from(self.share_of(u64::from(u16::MAX))).unwrap_or(u16::MAX)
    }

    /// Gives this share of `amount`, rounded down, saturating; a negative share gives 0.
    #[must_use]
    pub fn share_of(self, amount: u64) -> u64 {
        let share = u128::from(u64::try_from(self.0).unwrap_or(0));
        let wide = share.wrapping_mul(u128::from(amount)) >> FRACTION_BITS;
        u64::try_from(wide).unwrap_or(u64::MAX)
    }
}

/// The series of e^x for x in units of `2^-32`, at most 20: below `2^61`, so nothing here wraps.
fn exp_series(argument: u64) -> u64 {
    let (mut sum, mut term) = (Fixed32::ONE.0.unsigned_abs(), Fixed32::ONE.0.unsigned_abs());
    for index in 1..=Fixed32::EXP_TERM_MAX {
        let product = u128::from(term).wrapping_mul(u128::from(argument)) >> FRACTION_BITS;
        term = u64::try_from(product)
            .unwrap_or(u64::MAX)
            .checked_div(index)
            .unwrap_or(0);
        if term == 0 {
            break;
        }
        sum = sum.saturating_add(term);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i64 = 1 << 32;

    #[test]
    fn products_round_down_and_quotients_towards_zero() {
        let (small, minus_small) = (Fixed32::from_bits(1), Fixed32::from_bits(-1));
        assert_eq!(minus_small.times(Fixed32::HALF), minus_small);
        assert_eq!(small.times(Fixed32::HALF), Fixed32::ZERO);
        assert_eq!(minus_small.over(Fixed32::from_bits(2 * ONE)), Fixed32::ZERO);
        assert_eq!(Fixed32::ratio(2, 3).to_bits(), ONE * 2 / 3);
    }

    #[test]
    fn nothing_overflows() {
        let extremes = [
            i64::MIN,
            i64::MIN + 1,
            -ONE,
            -1,
            0,
            1,
            ONE - 1,
            ONE,
            ONE + 1,
            i64::MAX,
        ];
        for a in extremes.map(Fixed32::from_bits) {
            for b in extremes.map(Fixed32::from_bits) {
                let _ = (a.plus(b), a.minus(b), a.times(b), a.over(b), a.exp());
                let _ = (a.to_u16_share(), a.share_of(u64::MAX));
            }
        }
        assert_eq!(
            Fixed32::from_bits(i64::MAX)
                .times(Fixed32::from_bits(2 * ONE))
                .to_bits(),
            i64::MAX
        );
        assert_eq!(
            Fixed32::from_bits(i64::MIN)
                .times(Fixed32::from_bits(2 * ONE))
                .to_bits(),
            i64::MIN
        );
        assert_eq!(Fixed32::ratio(u64::MAX, 1).to_bits(), i64::MAX);
    }

    #[test]
    fn division_by_zero_gives_zero() {
        assert_eq!(Fixed32::ONE.over(Fixed32::ZERO), Fixed32::ZERO);
        assert_eq!(Fixed32::ratio(7, 0), Fixed32::ZERO);
    }

    #[test]
    fn shares_of_u16_round_down_and_one_is_the_maximum() {
        assert_eq!(Fixed32::ONE.to_u16_share(), u16::MAX);
        assert_eq!(Fixed32::from_bits(ONE - 1).to_u16_share(), u16::MAX - 1);
        assert_eq!(Fixed32::from_bits(2 * ONE).to_u16_share(), u16::MAX);
        assert_eq!(Fixed32::from_bits(-1).to_u16_share(), 0);
    }

    #[test]
    fn exponentials_are_close_to_the_real_ones() {
        for tenths in -200_i32..=200 {
            let bits = i64::from(tenths) * ONE / 10;
            let exact = (f64::from(tenths) / 10.0).exp();
            #[expect(clippy::cast_precision_loss, reason = "a tolerance is all that is asked")]
            let ours = Fixed32::from_bits(bits).exp().to_bits() as f64 / ONE as f64;
            // The series is cut at index 31, which shows from x = 10 on; below, only rounding does.
            let tolerance = if tenths.abs() > 100 { 0.02 } else { 1e-6 };
            assert!(
                (ours - exact).abs() <= tolerance * exact.max(1e-3),
                "e^({tenths} / 10) gave {ours}"
            );
        }
    }

    #[test]
    fn the_argument_of_exp_stops_at_twenty() {
        assert_eq!(
            Fixed32::from_bits(500 * ONE).exp(),
            Fixed32::from_bits(20 * ONE).exp()
        );
        assert_eq!(
            Fixed32::from_bits(i64::MIN).exp(),
            Fixed32::from_bits(-20 * ONE).exp()
        );
        assert_eq!(Fixed32::ZERO.exp(), Fixed32::ONE);
        assert_eq!(Fixed32::ONE.exp().to_bits(), 0x2_b7e1_5000);
    }
}
