//! Exponential decay in integers: what halves with every half-life that passes.

use agon_protocol::amount::Amount;

/// `ROOTS[k] = 2^(64 - 2^-(k+1))`, rounded down: what a set bit of the exponent's fraction multiplies by.
const ROOTS: [u64; 32] = {
    let mut roots = [0; 32];
    // 2^127 is 2^(64 - 1/2) squared, and each next root is that of the one before times 2^64.
    let mut square = 1u128 << 127;
    let mut index = 0;
    while index < 32 {
        let root = square.isqrt();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the root of a square below 2^128 is below 2^64"
        )]
        {
            roots[index] = root as u64;
        }
        square = root << 64;
        index += 1;
    }
    roots
};

/// `amount * 2^-(blocks / half_life)`, rounded down; the exponent is taken in 2^-32 parts.
pub(crate) fn halved(amount: Amount, blocks: u64, half_life: u64) -> Amount {
    let whole = blocks.checked_div(half_life).unwrap_or(0);
    let part = u128::from(blocks.checked_rem(half_life).unwrap_or(0));
    let fraction = (part << 32).checked_div(u128::from(half_life)).unwrap_or(0);
    let shift = u32::try_from(whole).unwrap_or(u32::MAX).saturating_add(64);
    let product = u128::from(amount.base_units())
        .checked_mul(power(fraction))
        .expect("at most 2^64 times a u64");
    let value = product.checked_shr(shift).unwrap_or(0);
    Amount::from_base_units(u64::try_from(value).expect("the upper half of a product fits"))
}

/// `2^(64 - fraction / 2^32)` for a fraction below 2^32, rounded down at each set bit.
fn power(fraction: u128) -> u128 {
    let mut power = 1u128 << 64;
    for (index, root) in (0u32..).zip(ROOTS) {
        if (fraction >> 31u32.saturating_sub(index)) & 1 == 1 {
            power = power
                .checked_mul(u128::from(root))
                .expect("at most 2^64 times a u64")
                >> 64;
        }
    }
    power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_halved(amount: u64, blocks: u64, half_life: u64, expected: u64) {
        let halved = halved(Amount::from_base_units(amount), blocks, half_life);
        assert_eq!(halved.base_units(), expected);
    }

    #[test]
    fn a_price_halves_in_each_half_life_and_in_between_follows_the_curve() {
        check_halved(1_000_000_000, 0, 40, 1_000_000_000);
        check_halved(1_000_000_000, 1, 40, 982_820_598);
        check_halved(1_000_000_000, 20, 40, 707_106_781);
        check_halved(1_000_000_000, 39, 40, 508_739_846);
        check_halved(1_000_000_000, 40, 40, 500_000_000);
        check_halved(1_000_000_000, 100, 40, 176_776_695);
        check_halved(500_000, 360, 360, 250_000);
        check_halved(u64::MAX, 0, 1, u64::MAX);
        check_halved(u64::MAX, 64, 1, 0);
        check_halved(u64::MAX, u64::MAX, 1, 0);
    }

    proptest! {
        #[test]
        fn a_price_never_rises_by_waiting(amount: u64, half_life in 1u64..1_000_000, blocks in 0u64..10_000_000) {
            let amount = Amount::from_base_units(amount);
            prop_assert!(halved(amount, blocks.saturating_add(1), half_life) <= halved(amount, blocks, half_life));
        }
    }
}
