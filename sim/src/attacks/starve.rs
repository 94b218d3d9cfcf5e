//! A10, small validators are starved: a miner serves only the validators with the most stake.
//!
//! Off: a challenge names who asks. The miner keeps the weight of those it serves and saves the work for the others.
//! On: as long as a challenge names its sender the rules change nothing about the miner's pay; the small validators'
//! failures are contradicted by the large ones' answers, so that it is they who lose. The miner contests their failures,
//! with receipts that it signs late; that helps it once it serves most of them by number.

use crate::attack::{Attack, Bound, Case, Trial};
use crate::bloc::all_covered;
use crate::epochs::Epochs;
use crate::miners::{Climate, Miners};
use crate::random::Random;
use crate::stakes::{StakeTable, base_units};

/// The attack.
#[derive(Debug)]
pub(super) struct Starve;

impl Attack for Starve {
    fn name(&self) -> &'static str {
        "starve-small"
    }

    fn row(&self) -> &'static str {
        "A10"
    }

    fn about(&self) -> &'static str {
        "A miner answers only the validators with the most stake."
    }

    fn figure(&self) -> &'static str {
        "income per answered request, selective over honest miner"
    }

    fn defence(&self) -> &'static str {
        "Requests would have to hide who asks; they do not yet."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |served: usize, ratio| Case {
            label: format!("answers {served} of 16 validators and contests the others, five large stakes"),
            off: Bound::Near(ratio),
            on: Bound::AtMost(1.0),
            open: Some("a challenge names its sender, so that a miner can choose whom to serve"),
            explores: false,
            measure: Box::new(move |trial| per_request(served, trial)),
        };
        vec![case(4, 2.3), case(5, 2.1), case(9, 1.4)]
    }
}

const VALIDATORS: usize = 16;
const MINERS: usize = 64;

fn per_request(served: usize, trial: Trial) -> f64 {
    let mut random = Random::new("starve-small", trial.seed);
    let miners = Miners::equal(MINERS, Climate::steady(0.1));
    let stakes = base_units(&StakeTable::TopFive.shares(VALIDATORS));
    let mut honest = Epochs::new(&stakes, MINERS, trial.defence);
    let mut epochs = honest.clone();
    let (mut selective, mut fair) = (0.0, 0.0);
    for _ in 0..trial.epochs {
        let mut rows = miners.measured_by(VALIDATORS, &mut random);
        fair += honest.step(&rows).miners[0];
        rows[served..].iter_mut().for_each(|row| row[0] = 0.0);
        let contested: Vec<(usize, usize)> = match trial.defence.is_on() {
            true => (served..VALIDATORS).map(|validator| (validator, 0)).collect(),
            false => Vec::new(),
        };
        let paid = epochs.step_contested(&rows, &all_covered(VALIDATORS), &contested);
        selective += paid.miners[0];
    }
    selective / fair / (served as f64 / VALIDATORS as f64)
}
