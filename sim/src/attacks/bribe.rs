//! A6, bribery: a miner pays validators for weight.
//!
//! Off: the bribed lift one miner tenfold; what they lose in dividends is little, so that the bribe may be small.
//! On: lifted rows are shown to be forged. Where the bribed instead take the miner's word for the answers they would
//! have to tell it, their evidence follows, and clipping alone limits the gain.

use crate::attack::{Attack, Bound, Case};
use crate::bloc::{Bloc, Falsehood};
use crate::lift::{FOUND_BY_CHANCE, Lift, TOLD, TOLD_GAINS};
use crate::stakes::StakeTable;

/// The attack.
#[derive(Debug)]
pub(super) struct Bribe;

impl Attack for Bribe {
    fn name(&self) -> &'static str {
        "bribe"
    }

    fn row(&self) -> &'static str {
        "A6"
    }

    fn about(&self) -> &'static str {
        "A miner pays validators to give it ten times its weight."
    }

    fn figure(&self) -> &'static str {
        "the miner's income over what it would be without the bribe"
    }

    fn defence(&self) -> &'static str {
        "Weights can be recomputed from evidence, and a share of what a forger loses goes to whoever shows it."
    }

    fn cases(&self) -> Vec<Case> {
        const MEASURED: [(f64, f64); 5] = [(0.4, 1.19), (0.1, 1.02), (0.25, 1.09), (0.49, 1.32), (0.51, 5.6)];
        let bribed = MEASURED.iter().map(|&(stake, gain)| case(stake, gain));
        bribed
            .chain([told(), besides(), unseen(), loss(), unseen_loss()])
            .chain(explored())
            .collect()
    }
}

fn case(stake: f64, gain: f64) -> Case {
    let lift = lift(stake);
    Case {
        label: format!("{stake} of the stake is bribed"),
        off: Bound::Near(gain),
        on: Bound::AtMost(1.02),
        open: None,
        explores: false,
        measure: Box::new(move |trial| lift.run(trial).gain()),
    }
}

/// Answers that are told are right, so that the evidence follows.
fn told() -> Case {
    let lift = Lift {
        factor: TOLD,
        falsehood: Falsehood::InAnswers,
        ..lift(0.4)
    };
    Case {
        label: String::from("0.4 of the stake is bribed, the miner is told the answers"),
        off: Bound::AtLeast(1.02),
        on: Bound::AtMost(1.02),
        open: Some(TOLD_GAINS),
        explores: false,
        measure: Box::new(move |trial| lift.run(trial).gain()),
    }
}

fn besides() -> Case {
    let lift = Lift {
        falsehood: Falsehood::BesidesEvidence,
        ..lift(0.4)
    };
    Case {
        label: String::from("0.4 of the stake is bribed, another row than in the evidence"),
        off: Bound::Near(1.19),
        on: Bound::AtMost(1.02),
        open: None,
        explores: false,
        measure: Box::new(move |trial| lift.run(trial).gain()),
    }
}

/// Other noise, tables of stake and sizes, where no figure was measured before: bribing pays.
fn explored() -> Vec<Case> {
    let sizes = [(16, 256), (64, 64), (64, 256)].map(|(validators, miners)| (validators, miners, 0.2));
    let noises = [0.1, 0.4].map(|noise| (16, 64, noise));
    let mut cases = Vec::new();
    for stakes in StakeTable::ALL {
        for (validators, miners, noise) in sizes.into_iter().chain(noises) {
            let lift = Lift {
                bloc: Bloc::new(validators, 0.4).spread(stakes),
                miners,
                noise,
                ..lift(0.4)
            };
            cases.push(Case {
                label: format!(
                    "0.4 of the stake is bribed, {validators} validators, {miners} miners, {stakes}, noise {noise}"
                ),
                off: Bound::AtLeast(1.02),
                on: Bound::AtMost(1.02),
                open: None,
                explores: true,
                measure: Box::new(move |trial| lift.run(trial).gain()),
            });
        }
    }
    cases
}

/// Forged in evidence that nobody can fetch: what the beacon picks has to show it.
fn unseen() -> Case {
    let lift = Lift {
        falsehood: Falsehood::Unseen,
        ..lift(0.4)
    };
    Case {
        label: String::from("0.4 of the stake is bribed, evidence that nobody can fetch"),
        off: Bound::Near(1.19),
        on: Bound::AtMost(1.02),
        open: Some(FOUND_BY_CHANCE),
        explores: false,
        measure: Box::new(move |trial| lift.run(trial).gain()),
    }
}

fn unseen_loss() -> Case {
    let lift = Lift {
        falsehood: Falsehood::Unseen,
        ..lift(0.4)
    };
    Case {
        label: String::from(
            "0.4 of the stake is bribed, evidence that nobody can fetch: dividends of the bribed over those of honest \
             work",
        ),
        off: Bound::Near(1.0),
        on: Bound::AtMost(0.6),
        open: None,
        explores: false,
        measure: Box::new(move |trial| lift.run(trial).kept()),
    }
}

fn loss() -> Case {
    let lift = lift(0.4);
    Case {
        label: String::from("0.4 of the stake is bribed: dividends of the bribed over those of honest work"),
        off: Bound::Near(1.0),
        on: Bound::AtMost(0.1),
        open: None,
        explores: false,
        measure: Box::new(move |trial| lift.run(trial).kept()),
    }
}

fn lift(stake: f64) -> Lift {
    Lift {
        bloc: Bloc::new(16, stake),
        miners: 64,
        chosen: 1,
        noise: 0.2,
        factor: 10.0,
        falsehood: Falsehood::InEvidence,
    }
}
