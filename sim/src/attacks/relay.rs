//! B2, relay: a miner without a model has another miner answer its challenges.
//!
//! Off: a challenge is not bound to a receiver and every miner answers whoever asks, so that the relay is paid as the
//! miner behind it.
//! On: a challenge names its receiver under the validator's signature, and a miner refuses what is signed for another
//! (`agon-miner`'s admission; its tests try it over sockets), so a stranger's miner gives no answer. A miner that was
//! bribed may answer both challenges with one run, and then the two answer as one.

use agon_scoring::rating::{Ratings, WINDOW_ITEMS_MAX};
use agon_scoring::weights::WeightPolicy;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::contest::{Answer, Model, pays, record};
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Relay;

impl Attack for Relay {
    fn name(&self) -> &'static str {
        "relay"
    }

    fn row(&self) -> &'static str {
        "B2"
    }

    fn about(&self) -> &'static str {
        "A miner without a model has another miner answer its challenges."
    }

    fn figure(&self) -> &'static str {
        "income of the relay, or of the relay and the bribed miner together, over one honest miner's"
    }

    fn defence(&self) -> &'static str {
        "Challenges are signed for one receiver, and UIDs that answer as one share one pay."
    }

    fn cases(&self) -> Vec<Case> {
        vec![
            Case {
                label: "a stranger's miner is asked".to_owned(),
                off: Bound::Near(1.0),
                on: Bound::AtMost(0.05),
                open: None,
                explores: false,
                measure: Box::new(|trial| incomes(false, trial)[0]),
            },
            Case {
                label: "a bribed miner answers both with one run".to_owned(),
                off: Bound::Near(2.0),
                on: Bound::AtMost(1.02),
                open: None,
                explores: false,
                measure: Box::new(|trial| incomes(true, trial).iter().sum()),
            },
        ]
    }
}

const MODEL: Model = Model::right_on(0.75);

/// Income of the relay and of the miner behind it, over what that miner would earn alone.
fn incomes(is_bribed: bool, trial: Trial) -> [f64; 2] {
    let mut random = Random::new("relay", trial.seed);
    let (mut alone, mut both) = (Ratings::default(), Ratings::default());
    for _ in 0..WINDOW_ITEMS_MAX {
        let own: Answer = MODEL.answer(&mut random);
        let is_answered = is_bribed || !trial.defence.is_on();
        record(&mut alone, &[own]);
        record(&mut both, &[own.filter(|_| is_answered), own]);
    }
    let paid = |ratings: &Ratings| pays(&ratings.standings(), &WeightPolicy::default(), trial.defence);
    let (alone, both) = (paid(&alone), paid(&both));
    [both[0] / alone[0], both[1] / alone[0]]
}
