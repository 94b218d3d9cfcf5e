//! What holds for ratings and weights whatever miners do.

use std::collections::BTreeMap;

use agon_scoring::compare::{Anchor, JudgedAnswer, PPM, compare};
use agon_scoring::rating::{COINCIDENCES_MIN, Ratings, Standing, WINDOW_ITEMS_MAX};
use agon_scoring::weights::{WeightPolicy, pay, weights};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// The reference answer; wrong ones are numbered from 1.
const RIGHT: u8 = 0;

/// How a simulated miner answers.
#[derive(Clone, Copy)]
struct Miner {
    /// Probability of a right answer.
    accuracy: f64,
    /// Probability of an answer at all.
    online: f64,
    /// How many wrong answers it takes from, each equally likely.
    wrong_answers: u8,
}

impl Miner {
    const fn of_accuracy(accuracy: f64) -> Self {
        Self {
            accuracy,
            online: 1.0,
            wrong_answers: 4,
        }
    }

    fn answer(self, random: &mut ChaCha20Rng) -> Option<u8> {
        if unit(random) >= self.online {
            return None;
        }
        let right = unit(random) < self.accuracy;
        Some(if right { RIGHT } else { self.wrong_answer(random) })
    }

    fn wrong_answer(self, random: &mut ChaCha20Rng) -> u8 {
        1 + u8::try_from(random.next_u32() % u32::from(self.wrong_answers)).expect("a small number")
    }
}

fn unit(random: &mut ChaCha20Rng) -> f64 {
    f64::from(random.next_u32()) / f64::from(u32::MAX)
}

fn digest(answer: u8) -> [u8; 32] {
    [answer; 32]
}

fn judged(uid: u16, answer: Option<u8>) -> JudgedAnswer {
    let score_ppm = if answer == Some(RIGHT) { PPM } else { 0 };
    JudgedAnswer {
        uid,
        digest: answer.map(digest),
        score_ppm,
    }
}

/// Answers of every item, in order: index of miner to answer.
type Answers = Vec<Vec<Option<u8>>>;

fn simulate(miners: &[Miner], items: usize, seed: u64) -> Answers {
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    (0..items)
        .map(|_| miners.iter().map(|miner| miner.answer(&mut random)).collect())
        .collect()
}

/// The answers to one item, miner m being UID m.
fn judge_item(answers: &[Option<u8>]) -> Vec<JudgedAnswer> {
    (0..)
        .zip(answers)
        .map(|(uid, &answer)| judged(uid, answer))
        .collect()
}

/// Records every item, miner m being UID m.
fn rate(answers: &Answers) -> Vec<Standing> {
    rate_judged(&answers.iter().map(|item| judge_item(item)).collect::<Vec<_>>())
}

fn rate_judged(items: &[Vec<JudgedAnswer>]) -> Vec<Standing> {
    let mut ratings = Ratings::default();
    for item in items {
        ratings.record(&compare(item, &Anchor::perfect(digest(RIGHT))).expect("comparable"));
    }
    ratings.standings()
}

/// The weights of UIDs that `is_of` picks, as a share of all.
fn share_of(standings: &[Standing], is_of: impl Fn(u16) -> bool) -> f64 {
    let row = weights(standings, &WeightPolicy::default()).expect("somebody reaches the floor");
    let sum = |row: &mut dyn Iterator<Item = &(u16, u16)>| row.map(|cell| f64::from(cell.1)).sum::<f64>();
    sum(&mut row.iter().filter(|cell| is_of(cell.0))) / sum(&mut row.iter())
}

/// The whole cast that a subnet has to tell apart.
const CAST: [Miner; 6] = [
    Miner::of_accuracy(0.9),
    Miner::of_accuracy(0.65),
    Miner::of_accuracy(0.4),
    Miner {
        accuracy: 0.0,
        online: 1.0,
        wrong_answers: 200,
    },
    Miner {
        accuracy: 0.9,
        online: 0.15,
        wrong_answers: 4,
    },
    Miner {
        accuracy: 0.0,
        online: 0.0,
        wrong_answers: 4,
    },
];

#[test]
fn better_models_earn_more_and_garbage_and_silence_nearly_nothing() {
    for seed in 0..100 {
        let standings = rate(&simulate(&CAST, WINDOW_ITEMS_MAX, seed));
        assert!(
            standings[0].rating_ppm > standings[1].rating_ppm + 50_000,
            "seed {seed}: {standings:?}"
        );
        assert!(
            standings[1].rating_ppm > standings[2].rating_ppm + 50_000,
            "seed {seed}: {standings:?}"
        );
        let share = |uid| share_of(&standings, |other| other == uid);
        assert!(
            share(0) > share(1) && share(1) > share(2) && share(2) > 0.02,
            "seed {seed}: {standings:?}"
        );
        for uid in 3..6 {
            assert!(share(uid) < 0.05, "seed {seed}: {standings:?}");
        }
    }
}

#[test]
fn a_wrong_majority_earns_nothing() {
    let answers: Answers = (0..48)
        .map(|_| (0..10).map(|uid| Some(u8::from(uid < 6))).collect())
        .collect();
    assert!(share_of(&rate(&answers), |uid| uid < 6) <= 0.05);
}

#[test]
fn all_equal_answers_give_equal_ratings() {
    for answer in [Some(RIGHT), Some(3), None] {
        let standings = rate(&vec![vec![answer; 12]; 20]);
        assert!(
            standings
                .iter()
                .all(|standing| standing.rating_ppm == standings[0].rating_ppm)
        );
    }
}

#[test]
fn clones_that_are_always_right_are_not_told_apart() {
    // Today's behaviour, and the limit that the rule states: right answers to closed questions prove nothing.
    let standings = rate(&vec![vec![Some(RIGHT); 8]; WINDOW_ITEMS_MAX]);
    assert!(standings.iter().all(|standing| standing.voices == 1));
}

/// The most pairs of UIDs that are taken for clones at once, looked at after every 16 items.
fn merged_pairs(answers: &Answers) -> u32 {
    let mut ratings = Ratings::default();
    let mut merged_max = 0;
    for (index, item) in answers.iter().enumerate() {
        ratings.record(&compare(&judge_item(item), &Anchor::perfect(digest(RIGHT))).expect("comparable"));
        if index % 16 == 15 {
            let standings = ratings.standings();
            let merged = standings.iter().map(|standing| standing.voices - 1).sum::<u32>() / 2;
            merged_max = merged_max.max(merged);
        }
    }
    merged_max
}

/// Seeds on which nobody may ever be merged, with 190 pairs each.
const SEEDS: u64 = 50;

#[test]
fn honest_miners_of_one_model_keep_their_own_voices() {
    for wrong in [0.12, 0.25, 0.4, 0.6] {
        let miners = [Miner {
            wrong_answers: 3,
            ..Miner::of_accuracy(1.0 - wrong)
        }; 20];
        for seed in 0..SEEDS {
            let merged = merged_pairs(&simulate(&miners, WINDOW_ITEMS_MAX, seed));
            assert_eq!(merged, 0, "seed {seed} at {wrong} wrong");
        }
    }
}

/// Twenty runs of a model that is always right on the same items, and on the others gives one of several wrong
/// answers by chance.
fn simulate_same_failures(wrong: f64, wrong_answers: u8, items: usize, seed: u64) -> Answers {
    let miner = Miner {
        wrong_answers,
        ..Miner::of_accuracy(0.0)
    };
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let item = |_| match unit(&mut random) < wrong {
        true => (0..20).map(|_| Some(miner.wrong_answer(&mut random))).collect(),
        false => vec![Some(RIGHT); 20],
    };
    (0..items).map(item).collect()
}

#[test]
fn honest_miners_that_fail_the_same_items_keep_their_own_voices() {
    // The hard case: one model fails the same items in every run, and only the seed decides between wrong answers.
    for wrong_answers in [3, 2] {
        for wrong in [0.12, 0.3, 0.6, 1.0] {
            for seed in 0..SEEDS {
                let merged = merged_pairs(&simulate_same_failures(
                    wrong,
                    wrong_answers,
                    WINDOW_ITEMS_MAX,
                    seed,
                ));
                assert_eq!(merged, 0, "seed {seed} at {wrong} wrong, one of {wrong_answers}");
            }
        }
    }
}

/// The model's own answer, or with this chance another one.
fn near_clone(model: Miner, own: Option<u8>, deviation: f64, random: &mut ChaCha20Rng) -> Option<u8> {
    match unit(random) < deviation {
        true => own.map(|own| (own + model.wrong_answer(random)) % 5),
        false => own,
    }
}

/// What eight near-clones earn together, in units of what their model earns alone: each gives the model's answer, but
/// another one on this share of items.
fn near_clones_pay(accuracy: f64, deviation: f64, seed: u64) -> f64 {
    let model = Miner::of_accuracy(accuracy);
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let (mut models, mut copies) = (Answers::new(), Answers::new());
    for _ in 0..WINDOW_ITEMS_MAX {
        let own = model.answer(&mut random);
        let copies_of_it = (0..8).map(|_| near_clone(model, own, deviation, &mut random));
        copies.push(copies_of_it.collect());
        models.push(vec![own]);
    }
    let paid = |standing: &Standing| pay(standing, &WeightPolicy::default()).expect("in range") as f64;
    rate(&copies).iter().map(paid).sum::<f64>() / paid(&rate(&models)[0])
}

#[test]
fn near_clones_that_seldom_differ_share_a_voice() {
    let mean = |deviation| {
        (0..SEEDS)
            .map(|seed| near_clones_pay(0.65, deviation, seed))
            .sum::<f64>()
            / SEEDS as f64
    };
    for deviation in [0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, AS_HONEST_RUNS] {
        println!(
            "eight that differ on {deviation}: {:.2} x the pay of one",
            mean(deviation)
        );
    }
    assert!(mean(0.0) <= 1.01 && mean(0.02) <= 1.01);
    // Today's behaviour, and the limit that the rule states: those who differ often enough are as good as strangers,
    // and pay for it by no more than what they get wrong.
    assert!(mean(0.12) > 2.0);
    let right = 0.65 * (1.0 - AS_HONEST_RUNS) + 0.35 * AS_HONEST_RUNS / 4.0;
    let unmerged = 8.0 * (right / 0.65_f64).powi(2);
    let ratio = mean(AS_HONEST_RUNS) / unmerged;
    assert!((0.95..1.05).contains(&ratio), "{ratio} of what strangers earn");
}

/// How often copies of a model right on 65 % have to differ to share and to differ as often as honest runs may.
const AS_HONEST_RUNS: f64 = 0.143;

#[test]
fn copies_that_differ_on_one_item_in_seven_share_as_fair_coins_fall() {
    let model = Miner::of_accuracy(0.65);
    let mut random = ChaCha20Rng::seed_from_u64(1);
    let (mut shared, mut different) = (0_u32, 0_u32);
    for _ in 0..200_000 {
        let own = model.answer(&mut random);
        let [left, right] = [(); 2].map(|()| near_clone(model, own, AS_HONEST_RUNS, &mut random));
        different += u32::from(left != right);
        shared += u32::from(left == right && left != Some(RIGHT));
    }
    let of_telling = f64::from(shared) / f64::from(shared + different);
    assert!((of_telling - 0.5).abs() < 0.01, "{of_telling} are shared");
}

/// Judged answers of some items, each by a few of the UIDs.
fn any_items() -> impl Strategy<Value = Vec<Vec<JudgedAnswer>>> {
    let answer = (proptest::option::weighted(0.9, 0_u8..6), 0..=PPM);
    let item = proptest::collection::btree_map(0_u16..8, answer, 0..8);
    proptest::collection::vec(item, 0..30).prop_map(|items| items.into_iter().map(judge_all).collect())
}

fn judge_all(item: BTreeMap<u16, (Option<u8>, u32)>) -> Vec<JudgedAnswer> {
    let judge = |(uid, (answer, score_ppm)): (u16, (Option<u8>, u32))| JudgedAnswer {
        uid,
        digest: answer.map(digest),
        score_ppm,
    };
    item.into_iter().map(judge).collect()
}

fn renamed(items: &[Vec<JudgedAnswer>], names: &[u16]) -> Vec<Vec<JudgedAnswer>> {
    let rename = |answer: &JudgedAnswer| JudgedAnswer {
        uid: names[usize::from(answer.uid)],
        ..*answer
    };
    items
        .iter()
        .map(|item| item.iter().rev().map(rename).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_permutation_of_uids_permutes_the_result(
        items in any_items(),
        names in Just((0_u16..8).collect::<Vec<u16>>()).prop_shuffle(),
    ) {
        let mut expected: Vec<Standing> = rate_judged(&items);
        for standing in &mut expected {
            standing.uid = names[usize::from(standing.uid)];
        }
        expected.sort_by_key(|standing| standing.uid);
        prop_assert_eq!(rate_judged(&renamed(&items, &names)), expected);
    }

    #[test]
    fn clones_add_nothing_to_what_their_operator_gets(
        clones in 1_usize..=32,
        accuracy in 0.3_f64..0.8,
        online in 0.7_f64..1.0,
        seed in any::<u64>(),
    ) {
        let operator = Miner { accuracy, online, wrong_answers: 4 };
        let others = [CAST[0], CAST[1], CAST[2], CAST[4]];
        let alone = simulate(&[&others[..], &[operator]].concat(), WINDOW_ITEMS_MAX, seed);
        let wrong = alone.iter().filter(|item| item[4].is_some_and(|answer| answer != RIGHT)).count();
        prop_assume!(wrong >= COINCIDENCES_MIN);
        let cloned = alone.iter().map(|item| [&item[..], &vec![item[4]; clones]].concat()).collect();
        let (before, after) = (rate(&alone), rate(&cloned));
        prop_assert_eq!(&before[..4], &after[..4], "others moved");
        let share = |standings: &[Standing]| share_of(standings, |uid| uid >= 4);
        prop_assert!(share(&after) <= share(&before) * 1.01, "{} became {}", share(&before), share(&after));
    }

    #[test]
    fn decoys_add_nothing_to_what_their_operator_gets(decoys in 1_usize..=32, seed in any::<u64>()) {
        let decoy = Miner { accuracy: 0.05, online: 1.0, wrong_answers: 200 };
        let miners = [&CAST[..3], &vec![decoy; decoys]].concat();
        let with = simulate(&miners, WINDOW_ITEMS_MAX, seed);
        let without: Answers = with.iter().map(|item| item[..3].to_vec()).collect();
        let (before, after) = (rate(&without), rate(&with));
        prop_assert_eq!(&before[..], &after[..3], "others moved");
        let share = |standings: &[Standing]| share_of(standings, |uid| uid == 0 || uid >= 3);
        prop_assert!(share(&after) <= share(&before) * 1.01);
    }

    #[test]
    fn a_better_scoring_miner_is_never_rated_lower(
        scores in proptest::collection::vec((0..=PPM, 0..=PPM, 0..=PPM), 1..40),
        same_answers in any::<bool>(),
    ) {
        let item = |(low, high, other): &(u32, u32, u32)| {
            let of = |uid: u8, score_ppm| JudgedAnswer {
                uid: u16::from(uid),
                digest: Some(digest(if same_answers { 1 } else { uid })),
                score_ppm,
            };
            vec![of(1, *low.min(high)), of(2, *low.max(high)), of(3, *other)]
        };
        let standings = rate_judged(&scores.iter().map(item).collect::<Vec<_>>());
        prop_assert!(standings[0].rating_ppm <= standings[1].rating_ppm);
    }

    #[test]
    fn no_input_gives_a_rating_out_of_range(
        items in proptest::collection::vec(
            proptest::collection::vec((0_u16..5, proptest::option::of(0_u8..3), prop_oneof![0..=PPM, any::<u32>()]), 0..8),
            0..10,
        ),
        anchor_score_ppm in prop_oneof![Just(0), Just(1), 0..=PPM, any::<u32>()],
        anchor_rating_ppm in prop_oneof![Just(0), Just(1), 0..=PPM, any::<u32>()],
    ) {
        let anchor =
            Anchor { digest: digest(RIGHT), score_ppm: anchor_score_ppm, rating_ppm: anchor_rating_ppm };
        let mut ratings = Ratings::default();
        for item in items {
            let judge = |(uid, answer, score_ppm): (u16, Option<u8>, u32)| JudgedAnswer {
                uid,
                digest: answer.map(digest),
                score_ppm,
            };
            if let Ok(comparison) = compare(&item.into_iter().map(judge).collect::<Vec<_>>(), &anchor) {
                ratings.record(&comparison);
            }
        }
        let standings = ratings.standings();
        prop_assert!(standings.iter().all(|standing| standing.rating_ppm <= PPM));
        if let Ok(row) = weights(&standings, &WeightPolicy { floor_ppm: 0, verified_min: 0, ..WeightPolicy::default() }) {
            prop_assert_eq!(row.iter().map(|cell| cell.1).max(), Some(u16::MAX));
        }
    }
}

#[test]
fn one_answer_is_enough_for_a_rating() {
    for answer in [Some(RIGHT), Some(1), None] {
        let standing = rate(&vec![vec![answer]])[0];
        assert!(standing.rating_ppm <= PPM && standing.item_count == 1);
    }
}
