//! How many base units exist: the cap, the halving of a block's emission, and amounts that cannot overflow.
//!
//! Issuance is what was ever created; what was burned stays counted, so that burning brings no emission back. It never
//! passes [`SUPPLY_MAX`], which is far below `u64::MAX`; that is why sums of amounts that exist at one time never
//! overflow.

use agon_protocol::amount::{Amount, BASE_UNITS_PER_UNIT};

/// Most base units that may ever be created: 21 million whole units.
pub const SUPPLY_MAX: Amount = Amount::from_base_units(21_000_000 * BASE_UNITS_PER_UNIT);

/// What a block creates at this issuance.
///
/// - **Formula**: `block_emission / 2^h` with `h = floor(log2(1 / (1 - issuance / cap)))`, and no more than is left
///   to the cap.
/// - **Rounding**: down; what is rounded off is never created.
/// - **Source**: the emission schedule of Subtensor.
#[must_use]
pub fn block_emission(initial: Amount, issuance: Amount) -> Amount {
    let left = SUPPLY_MAX.saturating_sub(issuance);
    let halved = initial.base_units().checked_shr(halvings(left)).unwrap_or(0);
    Amount::from_base_units(halved).min(left)
}

/// The largest `h` with `left * 2^h <= cap`, or as many as empty any amount when nothing is left.
fn halvings(left: Amount) -> u32 {
    match SUPPLY_MAX.base_units().checked_div(left.base_units()) {
        // floor(log2(cap / left)) is that of the integer quotient, since powers of two are integers.
        Some(quotient) => quotient.checked_ilog2().unwrap_or(0),
        None => u64::BITS,
    }
}

/// The sum of two amounts that exist at one time.
pub(crate) const fn plus(a: Amount, b: Amount) -> Amount {
    a.checked_add(b)
        .expect("amounts that exist at one time sum to at most the supply")
}

/// What is left of `a` after `b`, which the caller knows to be a part of it.
pub(crate) const fn minus(a: Amount, b: Amount) -> Amount {
    a.checked_sub(b).expect("a part is at most the whole")
}

/// The sum of amounts that exist at one time.
pub(crate) fn total(amounts: impl IntoIterator<Item = Amount>) -> Amount {
    amounts.into_iter().fold(Amount::ZERO, plus)
}

/// Divides `pot` in proportion to `weights`, to the base unit.
///
/// Every share is rounded down; the units left over go one each to the largest remainders, the lower index first
/// among equals. No weights at all give no shares, and the pot stays with the caller.
pub fn apportion(pot: Amount, weights: &[u64]) -> Vec<Amount> {
    let sum: u128 = weights
        .iter()
        .map(|weight| u128::from(*weight))
        .fold(0, u128::saturating_add);
    let pot = u128::from(pot.base_units());
    let split = |weight: &u64| {
        let product = pot.checked_mul(u128::from(*weight)).expect("two u64 fit");
        (
            product.checked_div(sum).unwrap_or(0),
            product.checked_rem(sum).unwrap_or(0),
        )
    };
    let (mut shares, remainders): (Vec<u128>, Vec<u128>) = weights.iter().map(split).unzip();
    if sum > 0 {
        let given = shares.iter().copied().fold(0, u128::saturating_add);
        let rest = usize::try_from(pot.saturating_sub(given)).expect("less than one unit per weight");
        for index in largest(&remainders, rest) {
            shares[index] = shares[index].saturating_add(1);
        }
    }
    let amount = |share| {
        u64::try_from(share)
            .map(Amount::from_base_units)
            .expect("at most the pot")
    };
    shares.into_iter().map(amount).collect()
}

/// Indices of the `count` largest values, the lower index first among equals.
fn largest(values: &[u128], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(values[*index]));
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNIT: u64 = BASE_UNITS_PER_UNIT;

    #[track_caller]
    fn check_emission(issued_units: u64, base_units: u64) {
        let issuance = Amount::from_units(issued_units).unwrap();
        let emission = block_emission(Amount::from_base_units(UNIT), issuance);
        assert_eq!(emission.base_units(), base_units);
    }

    #[test]
    fn a_blocks_emission_halves_when_half_of_what_was_left_is_out() {
        check_emission(0, UNIT);
        check_emission(10_499_999, UNIT);
        check_emission(10_500_000, UNIT / 2);
        check_emission(15_749_999, UNIT / 2);
        check_emission(15_750_000, UNIT / 4);
        check_emission(21_000_000, 0);
    }

    #[test]
    fn the_last_base_units_are_never_passed() {
        let issuance = minus(SUPPLY_MAX, Amount::from_base_units(3));
        assert!(block_emission(SUPPLY_MAX, issuance) <= Amount::from_base_units(3));
    }

    #[track_caller]
    fn check_shares(pot: u64, weights: &[u64], expected: &[u64]) {
        let shares = apportion(Amount::from_base_units(pot), weights);
        let shares: Vec<u64> = shares.into_iter().map(Amount::base_units).collect();
        assert_eq!(shares, expected);
    }

    #[test]
    fn what_is_left_over_goes_to_the_largest_remainders() {
        check_shares(10, &[1, 1, 1], &[4, 3, 3]);
        check_shares(10, &[1, 2, 3], &[2, 3, 5]);
        check_shares(7, &[0, 5], &[0, 7]);
        check_shares(7, &[0, 0], &[0, 0]);
        check_shares(7, &[], &[]);
    }

    proptest! {
        #[test]
        fn shares_sum_to_the_pot(pot: u64, weights in prop::collection::vec(any::<u64>(), 1..40)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let shares = apportion(Amount::from_base_units(pot), &weights);
            let sum: u128 = shares.iter().map(|share| u128::from(share.base_units())).sum();
            prop_assert_eq!(sum, u128::from(pot));
        }
    }
}
