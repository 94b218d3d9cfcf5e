//! The closed form of values against the iterated fit that it replaces, over opponents drawn and weighted at will.

use agon_scoring::compare::{Anchor, JudgedAnswer, PPM, compare};
use agon_scoring::draw::{Candidate, Draw};
use proptest::prelude::*;

/// One pair of players, the anchor being the last.
struct Pair {
    players: [usize; 2],
    /// Share of decisive cases that goes to the first.
    share: f64,
    weight: f64,
}

fn odds(score_ppm: u32) -> f64 {
    let accepted = (f64::from(score_ppm) / f64::from(PPM) + 0.5) / 2.0;
    accepted / (1.0 - accepted)
}

/// Each answer beside the anchor and beside `opponents` others that a draw picks, with weights of chance.
fn drawn_pairs(scores_ppm: &[u32], anchor: &Anchor, opponents: usize, seed: u8) -> Vec<Pair> {
    let draw = Draw::new([seed; 32]);
    let pair = |first: usize, second: usize, score_ppm| Pair {
        players: [first, second],
        share: odds(scores_ppm[first]) / (odds(scores_ppm[first]) + odds(score_ppm)),
        weight: 0.1 + (draw.sampling_seed(first as u16, second as u32) % 1000) as f64 / 100.0,
    };
    let mut pairs = Vec::new();
    for first in 0..scores_ppm.len() {
        pairs.push(pair(first, scores_ppm.len(), anchor.score_ppm));
        let candidates = (0..scores_ppm.len() as u16).filter(|&uid| usize::from(uid) != first);
        let candidates: Vec<Candidate> = candidates
            .map(|uid| Candidate {
                uid,
                last_asked_round: None,
            })
            .collect();
        let drawn = draw.uids(&candidates, opponents);
        pairs.extend(
            drawn
                .into_iter()
                .map(|uid| pair(first, usize::from(uid), scores_ppm[usize::from(uid)])),
        );
    }
    pairs
}

/// Hunter's MM iteration (*MM algorithms for generalized Bradley-Terry models*, Annals of Statistics 32, 2004), with
/// the last player, the anchor, held at its strength.
fn fit(pairs: &[Pair], player_count: usize, anchor_strength: f64) -> Vec<f64> {
    let mut strengths = vec![anchor_strength; player_count + 1];
    for _ in 0..20_000 {
        let (mut wins, mut meetings) = (vec![0.0; player_count + 1], vec![0.0; player_count + 1]);
        for Pair {
            players: [first, second],
            share,
            weight,
        } in pairs
        {
            let meeting = weight / (strengths[*first] + strengths[*second]);
            meetings[*first] += meeting;
            meetings[*second] += meeting;
            wins[*first] += weight * share;
            wins[*second] += weight * (1.0 - share);
        }
        for player in 0..player_count {
            strengths[player] = wins[player] / meetings[player];
        }
    }
    strengths.truncate(player_count);
    strengths
}

fn value(strength: f64) -> f64 {
    ((strength / (strength + 3.0) - 0.1) / 0.4).clamp(0.0, 1.0)
}

fn judged(scores_ppm: &[u32]) -> Vec<JudgedAnswer> {
    (0..)
        .zip(scores_ppm)
        .map(|(uid, &score_ppm)| JudgedAnswer {
            uid,
            digest: Some([uid as u8 + 1; 32]),
            score_ppm,
        })
        .collect()
}

fn values_ppm(scores_ppm: &[u32], anchor: &Anchor) -> Vec<u32> {
    let comparison = compare(&judged(scores_ppm), anchor).expect("comparable");
    comparison
        .answers()
        .iter()
        .map(|answer| answer.value_ppm)
        .collect()
}

fn any_anchor() -> impl Strategy<Value = Anchor> {
    (1..=PPM, 0..=PPM).prop_map(|(score_ppm, rating_ppm)| Anchor {
        digest: [0; 32],
        score_ppm,
        rating_ppm,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fit_over_any_opponents_gives_the_closed_form(
        scores_ppm in proptest::collection::vec(0..=PPM, 1..12),
        anchor in any_anchor(),
        opponents in 0_usize..6,
        seed in any::<u8>(),
    ) {
        let wins = 0.1 + 0.4 * f64::from(anchor.rating_ppm) / f64::from(PPM);
        let pairs = drawn_pairs(&scores_ppm, &anchor, opponents, seed);
        let fitted = fit(&pairs, scores_ppm.len(), 3.0 * wins / (1.0 - wins));
        for (strength, value_ppm) in fitted.into_iter().zip(values_ppm(&scores_ppm, &anchor)) {
            let expected = value(strength) * f64::from(PPM);
            prop_assert!((expected - f64::from(value_ppm)).abs() < 0.6, "{expected} and {value_ppm}");
        }
    }

    #[test]
    fn nobody_is_moved_by_who_else_answers(
        scores_ppm in proptest::collection::vec(0..=PPM, 1..8),
        others_ppm in proptest::collection::vec(0..=PPM, 0..40),
        anchor in any_anchor(),
    ) {
        let with_others = values_ppm(&[&scores_ppm[..], &others_ppm].concat(), &anchor);
        prop_assert_eq!(&with_others[..scores_ppm.len()], &values_ppm(&scores_ppm, &anchor)[..]);
    }

    #[test]
    fn a_better_score_is_never_worth_less(
        mut scores_ppm in proptest::collection::vec(0..=PPM, 2..8),
        anchor in any_anchor(),
    ) {
        scores_ppm.sort_unstable();
        prop_assert!(values_ppm(&scores_ppm, &anchor).is_sorted());
    }
}

/// What each miner wins of its games with all others; where the published designs leave the comparison.
fn rates_of_wins(scores_ppm: &[u32]) -> Vec<f64> {
    let share = |own: u32, other: u32| odds(own) / (odds(own) + odds(other));
    let rate = |own: usize| {
        let others = (0..scores_ppm.len()).filter(|&other| other != own);
        others
            .map(|other| share(scores_ppm[own], scores_ppm[other]))
            .sum::<f64>()
            / (scores_ppm.len() - 1) as f64
    };
    (0..scores_ppm.len()).map(rate).collect()
}

#[test]
fn decoys_pay_under_a_rate_of_wins_and_not_under_the_anchor() {
    let share = |earned: &[f64]| (earned[0] + earned[2..].iter().sum::<f64>()) / earned.iter().sum::<f64>();
    let anchored = |scores_ppm: &[u32]| -> Vec<f64> {
        let values = values_ppm(scores_ppm, &Anchor::perfect([0; 32]));
        values.into_iter().map(f64::from).collect()
    };
    let (alone, with_decoy) = ([PPM, PPM], [PPM, PPM, 0]);
    assert!((share(&rates_of_wins(&alone)) - 0.5).abs() < 1e-12);
    assert!((share(&rates_of_wins(&with_decoy)) - 8.0 / 15.0).abs() < 1e-12);
    assert!((share(&anchored(&alone)) - share(&anchored(&with_decoy))).abs() < 1e-12);
}
