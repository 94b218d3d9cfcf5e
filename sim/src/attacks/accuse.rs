//! A8, false accusation: validators say that a rival's miner never answers.
//!
//! Off: their rows have 0 for it. The median ignores a minority's low weights, but incentive is a sum over all rows,
//! so that the miner loses what the accusers' stake would have given it and more.
//! On: the accusers' coverage falls where others opened answers of the same miner.

use crate::attack::{Attack, Bound, Case, Trial};
use crate::bloc::{Bloc, Court};
use crate::epochs::Epochs;
use crate::evidence::Conduct;
use crate::miners::{Climate, Miners};
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Accuse;

impl Attack for Accuse {
    fn name(&self) -> &'static str {
        "false-accusation"
    }

    fn row(&self) -> &'static str {
        "A8"
    }

    fn about(&self) -> &'static str {
        "Validators always report that one miner, a rival's, failed to answer."
    }

    fn figure(&self) -> &'static str {
        "income of the accused miner over what it would be without the accusation"
    }

    fn defence(&self) -> &'static str {
        "A failure that others' evidence contradicts costs its reporter coverage."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |stake: f64| Case {
            label: format!("validators with {stake} of the stake accuse"),
            off: Bound::AtMost(0.98),
            on: Bound::AtLeast(0.98),
            open: Some(
                "a miner has no way to post its receipt against a failure that is claimed of it; the accusers lose coverage for one slot in 64",
            ),
            explores: false,
            measure: Box::new(move |trial| income(stake, trial)),
        };
        vec![case(0.4), case(0.1)]
    }
}

const VALIDATORS: usize = 16;
const MINERS: usize = 64;

fn income(stake: f64, trial: Trial) -> f64 {
    let mut random = Random::new("false-accusation", trial.seed);
    let mut evidence = Random::new("false-accusation evidence", trial.seed);
    let miners = Miners::equal(MINERS, Climate::steady(0.2));
    let bloc = Bloc::new(VALIDATORS, stake);
    let mut fair = Epochs::new(&bloc.stakes(), MINERS, trial.defence);
    let mut epochs = fair.clone();
    let mut court = Court::new(fair.clone());
    let mut conducts = vec![Conduct::Honest; bloc.honest];
    conducts.resize(bloc.count(), Conduct::Accuses(vec![0]));
    let honest = vec![false; bloc.count()];
    let (mut accused, mut left_alone) = (0.0, 0.0);
    for _ in 0..trial.epochs {
        let mut rows = miners.measured_by(bloc.count(), &mut random);
        left_alone += fair.step(&rows).miners[0];
        rows[bloc.members()].iter_mut().for_each(|row| row[0] = 0.0);
        let paid = if trial.defence.is_on() {
            court.step(&rows, &conducts, &honest, &mut evidence)
        } else {
            epochs.step(&rows)
        };
        accused += paid.miners[0];
    }
    accused / left_alone
}
