//! B9, decoys and clones: entries of its own make an operator's main miner win, or are paid beside it.
//!
//! Off: a miner's score is its rate of wins over all others, so worthless entries lift whoever they lose to; the
//! figures to be met are those of the score of the main miner, in the middle of 32. Copies are paid each.
//! On: an answer's value depends on its own score and the anchor's alone, and those who answer as one share one pay.
//! Copies that differ on one item in twelve are strangers to that rule, and at one item in seven to every rule about
//! pairs (`agon_scoring::rating` has the arithmetic): where tasks allow copies, the bound does not hold for them; where
//! they do not, pay follows proven work.

use agon_scoring::rating::{Ratings, WINDOW_ITEMS_MAX};
use agon_scoring::weights::WeightPolicy;

use crate::attack::{Attack, Bound, Case, Defence, Trial};
use crate::contest::{Answer, Model, pays, record};
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Decoys;

impl Attack for Decoys {
    fn name(&self) -> &'static str {
        "decoys"
    }

    fn row(&self) -> &'static str {
        "B9"
    }

    fn about(&self) -> &'static str {
        "An operator adds worthless entries that lose to its main miner, or copies of it."
    }

    fn figure(&self) -> &'static str {
        "what the operator earns with the added entries over what it earns without"
    }

    fn defence(&self) -> &'static str {
        "Answers are valued beside an anchor of known rating, and UIDs that answer as one share one pay."
    }

    fn cases(&self) -> Vec<Case> {
        let decoys = [(4, 1.11), (8, 1.21), (16, 1.34), (32, 1.51)].map(|(count, off)| Case {
            label: format!("{count} decoys beside 32 miners"),
            off: Bound::Near(off),
            on: Bound::AtMost(1.01),
            open: None,
            explores: false,
            measure: Box::new(move |trial| with_decoys(count, trial)),
        });
        let clones = [(4, 0, None), (32, 0, None), (8, 2, None), (8, 8, Some(STRANGERS))];
        decoys.into_iter().chain(clones.map(clones_case)).collect()
    }
}

/// Why copies that differ often enough are paid each.
const STRANGERS: &str = "copies of a model right on 65 % that differ on one item in seven share and differ as often as \
                         two honest runs may; tasks that check the work of each pay by bursts";

fn clones_case((count, differing_percent, open): (usize, u8, Option<&'static str>)) -> Case {
    let label = match differing_percent {
        0 => format!("{count} exact copies"),
        percent => format!("{count} copies that differ on {percent} % of items"),
    };
    let differing = f64::from(differing_percent) / 100.0;
    Case {
        label,
        off: Bound::AtLeast(0.75 * count as f64),
        on: Bound::AtMost(1.01),
        open,
        explores: false,
        measure: Box::new(move |trial| with_clones(count, differing, trial)),
    }
}

const MINERS: usize = 32;
/// Accuracy of the operator's model.
const OWN: Model = Model::right_on(0.65);
const WORTHLESS: Model = Model {
    accuracy: 0.02,
    wrong_answers: 200,
};

fn with_decoys(count: usize, trial: Trial) -> f64 {
    if !trial.defence.is_on() {
        return rate_of_wins(count) / rate_of_wins(0);
    }
    let mut random = Random::new("decoys", trial.seed);
    let (mut without, mut with) = (Ratings::default(), Ratings::default());
    for _ in 0..WINDOW_ITEMS_MAX {
        let mut answers: Vec<Answer> = (0..MINERS).map(|_| OWN.answer(&mut random)).collect();
        record(&mut without, &answers);
        answers.extend((0..count).map(|_| WORTHLESS.answer(&mut random)));
        record(&mut with, &answers);
    }
    operators_share(&with) / operators_share(&without)
}

/// The share of all pay that goes to the first miner and to everybody beyond the others.
fn operators_share(ratings: &Ratings) -> f64 {
    let paid = pays(&ratings.standings(), &WeightPolicy::default(), Defence::On);
    let others: f64 = paid[1..MINERS].iter().sum();
    1.0 - others / paid.iter().sum::<f64>()
}

/// Of a miner in the middle of [`MINERS`], that loses to nobody among `decoys` more.
fn rate_of_wins(decoys: usize) -> f64 {
    let others = (MINERS - 1) as f64;
    (others / 2.0 + decoys as f64) / (others + decoys as f64)
}

fn with_clones(count: usize, differing: f64, trial: Trial) -> f64 {
    let mut random = Random::new("clones", trial.seed);
    let (mut alone, mut copied) = (Ratings::default(), Ratings::default());
    for _ in 0..WINDOW_ITEMS_MAX {
        let own = OWN.answer(&mut random);
        record(&mut alone, &[own]);
        let copies: Vec<Answer> = (0..count).map(|_| copy_of(own, differing, &mut random)).collect();
        record(&mut copied, &copies);
    }
    let earned = |ratings: &Ratings| -> f64 {
        pays(&ratings.standings(), &WeightPolicy::default(), trial.defence)
            .iter()
            .sum()
    };
    earned(&copied) / earned(&alone)
}

/// The answer, or with this probability another one.
fn copy_of(own: Answer, differing: f64, random: &mut Random) -> Answer {
    if !random.chance(differing) {
        return own;
    }
    let step = 1 + u16::try_from(random.below(4)).expect("below four");
    own.map(|own| (own + step) % 5)
}
