//! The value of an answer in whole numbers. Formulas: [`crate::compare`].
//!
//! With M = [`PPM`], a score s has odds `(2s + M) / (3M - 2s)`, and a rating r has strength `3 (M + 4r) / (9M - 4r)`.
//! For an answer of score s beside an anchor of score `s_A` and rating r, strength over that of a perfect answer is
//! therefore `n / d` with
//!
//! ```text
//! n = (M + 4r) (2s + M) (3M - 2s_A)          at most 45 M^3
//! d = (9M - 4r) (3M - 2s) (2s_A + M)         at least 5 M^3, at most 81 M^3
//! ```
//!
//! and its value, `(n / (n + d) - 1/10) / (4/10)`, is `(9n - d) / (4 (n + d))`. In parts per million every number
//! stays below `2^100`.

use super::{Anchor, PPM};

/// Gives the value of an answer in parts per million, to nearest, halves up, and brought into `0..=PPM`.
///
/// Scores and rating are at most [`PPM`]: the caller has checked them.
pub(super) fn value_ppm(score_ppm: u32, anchor: &Anchor) -> u32 {
    let whole = u128::from(PPM);
    let [score, anchor_score, rating] =
        [score_ppm, anchor.score_ppm, anchor.rating_ppm].map(|ppm| u128::from(ppm.min(PPM)));
    let strength = (whole + 4 * rating) * (2 * score + whole) * (3 * whole - 2 * anchor_score);
    let perfect = (9 * whole - 4 * rating) * (3 * whole - 2 * score) * (2 * anchor_score + whole);
    let above_worthless = (9 * strength).saturating_sub(perfect);
    let span = 4 * (strength + perfect);
    let value = (2 * whole * above_worthless + span) / (2 * span);
    u32::try_from(value).unwrap_or(PPM).min(PPM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(score_ppm: u32, anchor_score_ppm: u32, anchor_rating_ppm: u32, expected_ppm: u32) {
        let anchor = Anchor {
            digest: [0; 32],
            score_ppm: anchor_score_ppm,
            rating_ppm: anchor_rating_ppm,
        };
        assert_eq!(
            value_ppm(score_ppm, &anchor),
            expected_ppm,
            "{score_ppm} beside {anchor:?}"
        );
    }

    #[test]
    fn values_are_those_worked_by_hand() {
        check(PPM, PPM, PPM, PPM);
        check(PPM / 2, PPM, PPM, 375_000);
        check(0, PPM, PPM, 0);
        // Score 1/4 has odds 3/5, so p = (3/5) / (3/5 + 3) = 1/6 and v = (1/6 - 1/10) / (4/10) = 1/6.
        check(PPM / 4, PPM, PPM, 166_667);
        // An anchor of half the score, rated 375000 = strength 1, leaves odds as they are.
        check(PPM, PPM / 2, 375_000, PPM);
        // Twice as good as a perfect reference is still worth one.
        check(PPM, PPM / 2, PPM, PPM);
    }

    #[test]
    fn a_tie_with_the_anchor_is_worth_its_rating() {
        for score_ppm in [1, 200_000, 500_000, PPM] {
            for rating_ppm in [0, 1, 375_000, 999_999, PPM] {
                check(score_ppm, score_ppm, rating_ppm, rating_ppm);
            }
        }
    }

    #[test]
    fn no_score_beside_no_anchor_leaves_the_range() {
        let edges = [0, 1, PPM / 2, PPM - 1, PPM, u32::MAX];
        for score_ppm in edges {
            for anchor_score_ppm in edges {
                for rating_ppm in edges {
                    let anchor = Anchor {
                        digest: [0; 32],
                        score_ppm: anchor_score_ppm,
                        rating_ppm,
                    };
                    assert!(value_ppm(score_ppm, &anchor) <= PPM);
                }
            }
        }
    }
}
