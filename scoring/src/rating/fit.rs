//! The Bradley-Terry fit of one item, and what a strength is worth. Formulas: [`crate::rating`].

use crate::compare::{Comparison, Outcome, PPM, acceptance};

/// Rounds of MM after which the strengths are taken as they are.
const ROUNDS_MAX: u32 = 200;

/// Relative change of a strength that counts as none.
const TOLERANCE: f64 = 1e-12;

/// Fits the strength of every distinct answer of an item, the anchor's being held fixed.
///
/// - **Shape**: one strength per [`Comparison::players`], in that order.
/// - **Units**: odds; 3 is a perfect answer, 1/3 a worthless one. Always finite and positive.
/// - **Source**: Hunter 2004, see [`crate::rating`].
#[must_use]
pub fn strengths(comparison: &Comparison) -> Vec<f64> {
    fit(
        comparison.outcomes(),
        comparison.players().len(),
        strength_of(comparison.anchor().rating_ppm),
    )
}

/// Gives the value of an answer of this strength: parts per million of a perfect one, rounded to nearest.
#[must_use]
pub fn value_ppm(strength: f64) -> u32 {
    let value = (wins_over_perfect(strength) - wins_over_perfect(worthless())) / value_span();
    (value.clamp(0.0, 1.0) * f64::from(PPM)).round() as u32
}

/// The strength whose value is `rating_ppm`; the inverse of [`value_ppm`] before its rounding.
fn strength_of(rating_ppm: u32) -> f64 {
    let wins = wins_over_perfect(worthless()) + value_span() * f64::from(rating_ppm) / f64::from(PPM);
    perfect() * wins / (1.0 - wins)
}

fn value_span() -> f64 {
    0.5 - wins_over_perfect(worthless())
}

fn wins_over_perfect(strength: f64) -> f64 {
    strength / (strength + perfect())
}

fn perfect() -> f64 {
    acceptance(PPM) / (1.0 - acceptance(PPM))
}

fn worthless() -> f64 {
    acceptance(0) / (1.0 - acceptance(0))
}

/// MM with the strength of player `player_count`, the anchor, held fixed.
fn fit(outcomes: &[Outcome], player_count: usize, anchor: f64) -> Vec<f64> {
    let mut strengths = start(outcomes, player_count, anchor);
    let wins = wins(outcomes, player_count);
    let mut meetings = vec![0.0; player_count + 1];
    for _ in 0..ROUNDS_MAX {
        meetings.fill(0.0);
        for &Outcome {
            first,
            second,
            weight,
            ..
        } in outcomes
        {
            let meeting = weight / (strengths[first] + strengths[second]);
            meetings[first] += meeting;
            meetings[second] += meeting;
        }
        let mut largest_move = 0.0_f64;
        for player in 0..player_count {
            let next = wins[player] / meetings[player];
            largest_move = largest_move.max((next / strengths[player] - 1.0).abs());
            strengths[player] = next;
        }
        if largest_move <= TOLERANCE {
            break;
        }
    }
    strengths.truncate(player_count);
    strengths
}

/// What each comparison with the anchor gives by itself; the anchor last.
fn start(outcomes: &[Outcome], player_count: usize, anchor: f64) -> Vec<f64> {
    let mut strengths = vec![anchor; player_count + 1];
    for outcome in outcomes.iter().filter(|outcome| outcome.second == player_count) {
        strengths[outcome.first] = anchor * outcome.share / (1.0 - outcome.share);
    }
    strengths
}

/// Weighted wins of each player.
fn wins(outcomes: &[Outcome], player_count: usize) -> Vec<f64> {
    let mut wins = vec![0.0; player_count + 1];
    for outcome in outcomes {
        wins[outcome.first] += outcome.weight * outcome.share;
        wins[outcome.second] += outcome.weight * (1.0 - outcome.share);
    }
    wins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Anchor, JudgedAnswer, compare};

    #[track_caller]
    fn check_close(got: f64, expected: f64) {
        assert!(
            (got - expected).abs() < 1e-9 * expected,
            "{got}, expected {expected}"
        );
    }

    fn strengths_of_scores(scores_ppm: &[u32], anchor: &Anchor) -> Vec<f64> {
        let answers: Vec<JudgedAnswer> = (1..)
            .zip(scores_ppm)
            .map(|(uid, &score_ppm)| JudgedAnswer {
                uid,
                digest: Some([uid as u8; 32]),
                score_ppm,
            })
            .collect();
        strengths(&compare(&answers, anchor).expect("comparable"))
    }

    #[test]
    fn strengths_and_values_are_those_worked_by_hand() {
        let fitted = strengths_of_scores(&[PPM, PPM / 2, 0], &Anchor::perfect([0; 32]));
        check_close(fitted[0], 3.0);
        check_close(fitted[1], 1.0);
        check_close(fitted[2], 1.0 / 3.0);
        let values: Vec<u32> = fitted.into_iter().map(value_ppm).collect();
        assert_eq!(values, [PPM, 375_000, 0]);
    }

    #[test]
    fn who_else_answers_moves_nobody() {
        let anchor = Anchor::perfect([0; 32]);
        let alone = strengths_of_scores(&[700_000], &anchor)[0];
        let mut scores = vec![700_000];
        scores.extend((0..100).map(|decoy| decoy * 2_000));
        check_close(strengths_of_scores(&scores, &anchor)[0], alone);
    }

    #[test]
    fn the_known_rating_of_the_anchor_sets_the_scale() {
        // A tie with an anchor known to be worth 375000 ppm is worth as much, whatever score the judge gave both.
        for score_ppm in [200_000, 500_000, PPM] {
            let anchor = Anchor {
                digest: [0; 32],
                score_ppm,
                rating_ppm: 375_000,
            };
            assert_eq!(value_ppm(strengths_of_scores(&[score_ppm], &anchor)[0]), 375_000);
        }
    }

    #[test]
    fn contradictory_outcomes_still_converge() {
        // Rock, paper, scissors, each once even with an anchor of strength 1: nobody can be above anybody.
        let pair = |first, second, share| Outcome {
            first,
            second,
            share,
            weight: 1.0,
        };
        let outcomes = [
            (0, 1, 0.9),
            (1, 2, 0.9),
            (0, 2, 0.1),
            (0, 3, 0.5),
            (1, 3, 0.5),
            (2, 3, 0.5),
        ]
        .map(|(a, b, w)| pair(a, b, w));
        for strength in fit(&outcomes, 3, 1.0) {
            check_close(strength, 1.0);
        }
    }

    #[test]
    fn two_players_meet_at_the_maximum_of_the_likelihood() {
        // 9/10 against an anchor of 1 asks for 9, a tie with a peer at 1/9 asks for less: in between, the gradient
        // wins - sum of n t / (t + t_j) is 0.
        let pair = |first, second, share| Outcome {
            first,
            second,
            share,
            weight: 1.0,
        };
        let fitted = fit(&[pair(0, 1, 0.5), pair(0, 2, 0.9), pair(1, 2, 0.1)], 2, 1.0);
        let expected_wins = fitted[0] / (fitted[0] + fitted[1]) + fitted[0] / (fitted[0] + 1.0);
        assert!((expected_wins - 1.4).abs() < 1e-9, "{expected_wins}");
    }

    #[test]
    fn values_stay_within_their_range() {
        let strengths = [0.0, 1e-300, 1.0 / 3.0, 3.0, 1e300];
        assert_eq!(strengths.map(value_ppm), [0, 0, 0, PPM, PPM]);
    }
}
