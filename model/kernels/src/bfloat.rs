//! `bf16`: the upper half of an `f32`.

/// Rounds to the nearest `bf16`, ties to even; a NaN stays one.
pub fn bf16_from_f32(number: f32) -> u16 {
    let bits = number.to_bits();
    if number.is_nan() {
        // The payload may lie in the lower half alone.
        return (bits >> 16) as u16 | 0x40;
    }
    let rounding = 0x7fff + ((bits >> 16) & 1);
    (bits.wrapping_add(rounding) >> 16) as u16
}

/// The same number in 32 bits; exact.
pub fn f32_from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_rounds_to_the_nearest_and_ties_to_even() {
        for (number, expected) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
            (-1.0 - 1.1 / 256.0, -1.0 - 2.0 / 256.0),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
            (0.0, 0.0),
        ] {
            assert_eq!(f32_from_bf16(bf16_from_f32(number)), expected, "{number}");
        }
        assert!(f32_from_bf16(bf16_from_f32(f32::from_bits(0x7f80_0001))).is_nan());
        assert!(f32_from_bf16(bf16_from_f32(f32::NAN)).is_nan());
    }

    #[test]
    fn every_bf16_survives_the_way_through_f32() {
        for bits in 0..=u16::MAX {
            let number = f32_from_bf16(bits);
            assert!(number.is_nan() || bf16_from_f32(number) == bits);
        }
    }
}
