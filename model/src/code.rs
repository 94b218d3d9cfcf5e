//! The activation code: sixteen bytes that tell what a model's last hidden state was when it chose a token.
//!
//! Of the output after the final norm, the [`ENTRIES`] values that are largest in size are kept, each as its index
//! (`u16`) and its value (`f16`), little-endian, largest first; of equals the lower index comes first. Whoever
//! computes the same tokens with the same model finds nearly the same values in nearly the same places, on any
//! device; weights of fewer bits, another model or a cache of fewer bits move them. The idea of comparing the
//! largest activations is TOPLOC's (arXiv 2501.16007); bytes and distance are our own.

use half::f16;

/// Values in a code.
const ENTRIES: usize = 4;
/// Bytes of a code, for one token.
pub const CODE_BYTES: usize = 4 * ENTRIES;
/// No distance is larger.
pub const DISTANCE_MAX: f32 = 1.0;

/// The code of one token.
pub type Code = [u8; CODE_BYTES];

/// The code of a hidden state, the last layer's output after the final norm; indices beyond `u16` are never kept.
#[must_use]
pub fn encode(hidden: &[f32]) -> Code {
    let mut code = [0; CODE_BYTES];
    for (entry, index) in code.chunks_exact_mut(4).zip(largest(hidden)) {
        let value = f16::from_f32(hidden[usize::from(index)].clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
        entry[..2].copy_from_slice(&index.to_le_bytes());
        entry[2..].copy_from_slice(&value.to_le_bytes());
    }
    code
}

/// How far a code is from a hidden state of the reference: 0 for one and the same, at most [`DISTANCE_MAX`].
///
/// The mean over the entries of the difference in value plus what the entry's place lacks to be among the largest,
/// both in units of the root of the mean square, each entry at most [`DISTANCE_MAX`]. An index that is not there, or
/// is there twice, counts in full.
pub(crate) fn distance(code: &Code, hidden: &[f32]) -> f32 {
    let scale = root_mean_square(hidden);
    if !(scale.is_finite() && scale > 0.0) {
        return DISTANCE_MAX;
    }
    let smallest = largest(hidden)
        .last()
        .map_or(0.0, |&index| hidden[usize::from(index)].abs());
    let mut seen = Vec::with_capacity(ENTRIES);
    let mut sum = 0.0;
    for entry in code.chunks_exact(4) {
        let index = u16::from_le_bytes([entry[0], entry[1]]);
        let value = f16::from_le_bytes([entry[2], entry[3]]).to_f32();
        let reference = hidden.get(usize::from(index)).filter(|_| !seen.contains(&index));
        sum += reference.map_or(DISTANCE_MAX, |reference| {
            let lacks = (smallest - reference.abs()).max(0.0);
            let distance = ((value - reference).abs() + lacks) / scale;
            // A value that is not a number is no value.
            if distance.is_nan() {
                DISTANCE_MAX
            } else {
                distance.min(DISTANCE_MAX)
            }
        });
        seen.push(index);
    }
    sum / ENTRIES as f32
}

/// Places of the largest values, by size and then by index.
fn largest(hidden: &[f32]) -> Vec<u16> {
    let mut best: Vec<u16> = Vec::with_capacity(ENTRIES + 1);
    for (index, value) in (0..=u16::MAX).zip(hidden) {
        let size = value.abs();
        let place = best.partition_point(|&other| hidden[usize::from(other)].abs() >= size);
        if place < ENTRIES {
            best.insert(place, index);
            best.truncate(ENTRIES);
        }
    }
    best
}

fn root_mean_square(hidden: &[f32]) -> f32 {
    let sum: f32 = hidden.iter().map(|value| value * value).sum();
    (sum / hidden.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: [f32; 8] = [0.5, -3.0, 1.0, 0.25, 2.0, -1.5, 0.0, 0.75];

    #[test]
    fn the_largest_values_are_kept_with_their_places() {
        let code = encode(&HIDDEN);
        let entries: Vec<(u16, f32)> = code
            .chunks_exact(4)
            .map(|entry| {
                let value = f16::from_le_bytes([entry[2], entry[3]]).to_f32();
                (u16::from_le_bytes([entry[0], entry[1]]), value)
            })
            .collect();
        assert_eq!(entries, [(1, -3.0), (4, 2.0), (5, -1.5), (2, 1.0)]);
    }

    #[test]
    fn a_code_is_at_no_distance_from_its_own_state_and_near_a_nearly_equal_one() {
        let code = encode(&HIDDEN);
        assert_eq!(distance(&code, &HIDDEN), 0.0);
        let nearly = HIDDEN.map(|value| value * 1.01);
        assert!(distance(&code, &nearly) < 0.02, "{}", distance(&code, &nearly));
    }

    #[test]
    fn another_state_a_place_that_is_not_there_and_a_place_given_twice_are_far() {
        let turned: Vec<f32> = HIDDEN.iter().rev().copied().collect();
        assert!(distance(&encode(&HIDDEN), &turned) > 0.5);
        let mut outside = encode(&HIDDEN);
        outside[0] = 200;
        assert_eq!(distance(&outside, &HIDDEN), 0.25);
        let mut twice = encode(&HIDDEN);
        twice.copy_within(0..4, 4);
        assert_eq!(distance(&twice, &HIDDEN), 0.25);
    }

    #[test]
    fn values_that_are_no_numbers_are_far_and_never_a_panic() {
        let mut code = encode(&HIDDEN);
        code[2..4].copy_from_slice(&f16::NAN.to_le_bytes());
        assert_eq!(distance(&code, &HIDDEN), 0.25);
        assert_eq!(distance(&encode(&HIDDEN), &[f32::NAN; 8]), DISTANCE_MAX);
        assert_eq!(distance(&encode(&HIDDEN), &[]), DISTANCE_MAX);
        assert_eq!(encode(&[]), [0; CODE_BYTES]);
        let _ = encode(&[f32::INFINITY, f32::NAN, 1e9, -1e9, 0.0]);
    }
}
