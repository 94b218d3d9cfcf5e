//! B11, churn: a miner registers anew in each immunity period, so that nobody can displace it.
//!
//! Off: windows and rows belong to the slot, so that a newcomer is paid for what its predecessor did.
//! On: a UID that changes hands starts with an empty window, is paid after its first verified answers, and a row made
//! before it registered does not count for it; rows are revealed a tempo after they were made.
//!
//! The price of a slot adapts on the ledger, and is 0 here for garbage, so that its figure is what the slot earns it;
//! for a copied model each registration costs what another miner earns in one epoch.

use agon_ledger_state::ParameterId;
use agon_scoring::rating::Ratings;
use agon_scoring::weights::WeightPolicy;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::contest::{Answer, Model, pays, record};
use crate::epochs::default_of;
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Churn;

impl Attack for Churn {
    fn name(&self) -> &'static str {
        "churn"
    }

    fn row(&self) -> &'static str {
        "B11"
    }

    fn about(&self) -> &'static str {
        "A miner registers anew in each immunity period, in the slot of a good miner that left."
    }

    fn figure(&self) -> &'static str {
        "income less the price of slots, over the income of an equal miner that stays"
    }

    fn defence(&self) -> &'static str {
        "Windows and rows go with the key that they are about, and nobody is paid before its answers were verified."
    }

    fn cases(&self) -> Vec<Case> {
        vec![
            Case {
                label: "garbage, in slots that cost nothing".to_owned(),
                off: Bound::AtLeast(0.05),
                on: Bound::AtMost(0.0),
                open: None,
                explores: false,
                measure: Box::new(|trial| income(GARBAGE, 0.0, trial)),
            },
            Case {
                label: "a copied good model, a slot for an epoch's income".to_owned(),
                off: Bound::AtLeast(0.85),
                on: Bound::AtMost(0.9),
                open: None,
                explores: false,
                measure: Box::new(|trial| income(GOOD, 1.0, trial)),
            },
        ]
    }
}

const GOOD: Model = Model::right_on(0.8);
const GARBAGE: Model = Model {
    accuracy: 0.02,
    wrong_answers: 200,
};
/// Miners beside the churner that stay, all of one model.
const STAYING: usize = 7;
/// Items that each of them answers in a tempo.
const ITEMS: u32 = 32;

/// Rows of one validator, from the windows to the epoch that counts them.
struct Subnet {
    ratings: Ratings,
    /// What the row that is revealed next pays.
    hidden: Vec<f64>,
    policy: WeightPolicy,
}

/// Income over that of a miner that stays, less the price of each slot in epochs of such an income.
fn income(model: Model, price_epochs: f64, trial: Trial) -> f64 {
    let mut random = Random::new("churn", trial.seed);
    let cycle = default_of(ParameterId::ImmunityBlocks) / default_of(ParameterId::TempoBlocks);
    let mut subnet = Subnet::new(trial);
    let (mut churner, mut staying) = (0.0, 0.0);
    for epoch in 0..u64::from(trial.epochs) {
        let registers = epoch % cycle == 0;
        if registers {
            subnet.change_hands(trial, &mut random);
        }
        let paid = subnet.tempo(model, trial, &mut random);
        let stayers = paid[1..].iter().sum::<f64>() / STAYING as f64;
        churner += paid[0] - if registers { price_epochs * stayers } else { 0.0 };
        staying += stayers;
    }
    churner / staying
}

impl Subnet {
    fn new(trial: Trial) -> Self {
        let verified_min = if trial.defence.is_on() {
            WeightPolicy::default().verified_min
        } else {
            0
        };
        Self {
            ratings: Ratings::default(),
            hidden: vec![0.0; STAYING + 1],
            policy: WeightPolicy {
                verified_min,
                ..WeightPolicy::default()
            },
        }
    }

    /// A good miner leaves another slot, and the churner, who holds the first of our numbers wherever it is, takes it.
    fn change_hands(&mut self, trial: Trial, random: &mut Random) {
        self.ratings.forget(0);
        let _ = self.tempo(GOOD, trial, random);
        if trial.defence.is_on() {
            self.ratings.forget(0);
            self.hidden[0] = 0.0;
        }
    }

    /// A tempo's items, and the pay of the epoch that ends it: by the row that was made a tempo ago.
    fn tempo(&mut self, first: Model, trial: Trial, random: &mut Random) -> Vec<f64> {
        for _ in 0..ITEMS {
            let mut answers: Vec<Answer> = vec![first.answer(random)];
            answers.extend((0..STAYING).map(|_| GOOD.answer(random)));
            record(&mut self.ratings, &answers);
        }
        let made = pays(&self.ratings.standings(), &self.policy, trial.defence);
        let counted = std::mem::replace(&mut self.hidden, made);
        let sum = counted.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        counted.into_iter().map(|pay| pay / sum).collect()
    }
}
