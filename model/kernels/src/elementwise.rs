//! The small steps between products: norm, rotation, gate, sum. Plain Rust, compiled for each level.

use crate::level::{Level, for_level};
use crate::lines::LANES;
use crate::multiply::Panels;

/// Writes `row / rms(row) * weight`, where rms is the root of the mean square plus `epsilon`.
///
/// - **Shape**: `row`, `weight` and `out` have the same length.
/// - **Source**: "Root mean square layer normalization" (2019).
///
/// # Panics
///
/// When the lengths differ.
pub fn normalise(level: Level, row: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    assert_eq!(row.len(), weight.len(), "a weight for each number");
    assert_eq!(row.len(), out.len(), "room for each number");
    for_level!(level, normalise_body(row: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]));
}

#[inline(always)]
fn normalise_body(row: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mean = sum_of_squares(row) / row.len() as f32;
    let factor = 1.0 / (mean + epsilon).sqrt();
    for ((out, number), weight) in out.iter_mut().zip(row).zip(weight) {
        *out = number * factor * weight;
    }
}

#[inline(always)]
fn sum_of_squares(row: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            *lane += number * number;
        }
    }
    for (lane, number) in lanes.iter_mut().zip(rest) {
        *lane += number * number;
    }
    lanes.into_iter().sum()
}

/// Rotates one head: its two halves are the coordinates of `head / 2` planes.
///
/// - **Shape**: `cosines` and `sines` of the angles, `[head_dim / 2]` each.
/// - **Source**: "RoFormer" (2021), by halves as in Hugging Face checkpoints.
///
/// # Panics
///
/// When the lengths do not fit together.
pub fn rotate(level: Level, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    assert_eq!(head.len(), 2 * cosines.len(), "two coordinates for each angle");
    assert_eq!(cosines.len(), sines.len(), "a sine for each cosine");
    for_level!(level, rotate_body(head: &mut [f32], cosines: &[f32], sines: &[f32]));
}

#[inline(always)]
fn rotate_body(head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let (first, second) = head.split_at_mut(cosines.len());
    for (((x, y), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
        (*x, *y) = (*x * cosine - *y * sine, *y * cosine + *x * sine);
    }
}

/// Turns `gate` into `silu(gate) * up`, where `silu(x) = x / (1 + exp(-x))`; relative error below 1e-6.
///
/// # Panics
///
/// When the lengths differ.
pub fn silu_product(level: Level, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "a gate for each number");
    for_level!(level, silu_product_body(gate: &mut [f32], up: &[f32]));
}

#[inline(always)]
fn silu_product_body(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp(-*gate)) * up;
    }
}

/// Adds rows of a product to `stream`, `[rows, columns]`.
///
/// # Panics
///
/// When `stream` does not have as many numbers as the product.
pub fn add_rows(level: Level, stream: &mut [f32], product: &Panels) {
    assert_eq!(
        stream.len(),
        product.rows() * product.columns(),
        "numbers of the product"
    );
    for_level!(level, add_rows_body(stream: &mut [f32], product: &Panels));
}

#[inline(always)]
fn add_rows_body(stream: &mut [f32], product: &Panels) {
    for (row, stream) in stream.chunks_mut(product.columns().max(1)).enumerate() {
        let mut rest = stream;
        for part in product.row(row) {
            let (own, behind) = rest.split_at_mut(part.len());
            for (sum, number) in own.iter_mut().zip(part) {
                *sum += number;
            }
            rest = behind;
        }
    }
}

/// e to the power of `x`, from 1e-38 to 1e38; relative error below 2e-7. A NaN stays one.
///
/// The power of two nearest to it is taken out; what is left, at most half of ln 2, goes through the series of the
/// exponential up to its sixth power.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Added to a small number, it leaves the nearest integer in the lowest bits.
    const ROUNDING: f32 = 12_582_912.0;
    /// ln 2 in two parts: the first is exact in few enough bits that its multiples are, too.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const MOST: f32 = 87.0;
    let x = if x > MOST { MOST } else { x };
    let x = if x < -MOST { -MOST } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let power = shifted - ROUNDING;
    let rest = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    let mut series = 1.0 / 720.0;
    for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * rest + factor;
    }
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUNDING.to_bits())
        .wrapping_add(127);
    series * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Numbers, relative_distance};

    #[test]
    fn the_exponential_is_right_to_the_last_bits() {
        for step in -8700..=8700 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) / expected - 1.0).abs();
            assert!(error < 3e-7, "{x}: {error:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::INFINITY) > 1e37 && exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn norms_agree_with_f64() {
        for length in [1, 3, 16, 63, 768, 1025] {
            let mut numbers = Numbers::new(length as u64);
            let (row, weight) = (numbers.normal(length), numbers.normal(length));
            let squares: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let factor = 1.0 / (squares / length as f64 + 1e-5).sqrt();
            let expected: Vec<f64> = row
                .iter()
                .zip(&weight)
                .map(|(&x, &w)| f64::from(x) * factor * f64::from(w))
                .collect();
            for level in Level::available() {
                let mut out = vec![0.0; length];
                normalise(level, &row, &weight, 1e-5, &mut out);
                assert!(relative_distance(&out, &expected) < 1e-6, "{length} {level}");
            }
        }
    }

    #[test]
    fn gates_agree_with_f64_and_pass_on_what_is_not_a_number() {
        let gate: Vec<f32> = (-400..400).map(|step| step as f32 / 4.0).collect();
        let up = Numbers::new(4).normal(800);
        let expected: Vec<f64> = gate
            .iter()
            .zip(&up)
            .map(|(&x, &up)| f64::from(x) / (1.0 + (-f64::from(x)).exp()) * f64::from(up))
            .collect();
        for level in Level::available() {
            let mut out = gate.clone();
            silu_product(level, &mut out, &up);
            assert!(relative_distance(&out, &expected) < 1e-6, "{level}");
            let mut out = [f32::NAN, 1.0];
            silu_product(level, &mut out, &[1.0, f32::NAN]);
            assert!(out.iter().all(|number| number.is_nan()));
        }
    }

    #[test]
    fn a_rotation_turns_each_plane_by_its_angle() {
        for level in Level::available() {
            let mut head = [1.0, 2.0, 3.0, 4.0];
            rotate(level, &mut head, &[0.0, 1.0], &[1.0, 0.0]);
            assert_eq!(head, [-3.0, 2.0, 1.0, 4.0], "{level}");
        }
    }
}
