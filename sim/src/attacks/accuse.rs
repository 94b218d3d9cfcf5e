//! A8, false accusation: validators say that a rival's miner never answers.
//!
//! Off: their rows have 0 for it. The median ignores a minority's low weights, but incentive is a sum over all rows,
//! so that the miner loses what the accusers' stake would have given it and more.
//! On, where the subnet takes contests (`evidence_contests` 1): the miner posts its receipt against each failure that the
//! evidence of an accuser claims, and what most other stake sees otherwise is replaced by what the others say. An accuser that lets nobody fetch its evidence is contested only
//! where a picked slot shows the failure.

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
        "A failure that the miner contests counts for nothing where most other stake gives the miner weight."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |stake: f64, answer: Answer| Case {
            label: format!("validators with {stake} of the stake accuse{}", answer.words()),
            off: Bound::AtMost(0.98),
            on: Bound::AtLeast(0.98),
            open: answer.open(),
            explores: false,
            measure: Box::new(move |trial| income(stake, answer, trial)),
        };
        vec![
            case(0.4, Answer::Contests),
            case(0.1, Answer::Contests),
            case(0.1, Answer::SeesNothing),
            case(0.4, Answer::None),
            case(0.1, Answer::None),
        ]
    }
}

/// What the accused miner can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It contests what it finds in evidence.
    Contests,
    /// The same, and the accusers let nobody fetch theirs.
    SeesNothing,
    /// Nothing: contests are off.
    None,
}

impl Answer {
    const fn words(self) -> &'static str {
        match self {
            Self::Contests => ", where contests are on",
            Self::SeesNothing => " and serve no evidence, where contests are on",
            Self::None => "",
        }
    }

    const fn open(self) -> Option<&'static str> {
        match self {
            Self::Contests => None,
            Self::SeesNothing => Some(
                "a miner contests what it can fetch; where nobody can, one claim in four is contested by a picked slot",
            ),
            Self::None => Some(
                "contests are off unless an owner turns them on: a miner could answer a little more than half and contest the rest",
            ),
        }
    }
}

const VALIDATORS: usize = 16;
const MINERS: usize = 64;

fn income(stake: f64, answer: Answer, trial: Trial) -> f64 {
    let mut random = Random::new("false-accusation", trial.seed);
    let mut evidence = Random::new("false-accusation evidence", trial.seed);
    let miners = Miners::equal(MINERS, Climate::steady(0.2));
    let bloc = Bloc::new(VALIDATORS, stake);
    let mut fair = Epochs::new(&bloc.stakes(), MINERS, trial.defence);
    let mut epochs = fair.clone();
    let court = Court::new(fair.clone());
    let mut court = match answer {
        Answer::None => court,
        Answer::Contests | Answer::SeesNothing => court.with_contests(),
    };
    let mut conducts = vec![Conduct::Honest; bloc.honest];
    let accuses = match answer {
        Answer::SeesNothing => Conduct::AccusesUnseen,
        Answer::Contests | Answer::None => Conduct::Accuses,
    };
    conducts.resize(bloc.count(), accuses(vec![0]));
    let truthful = vec![None; bloc.count()];
    let (mut accused, mut left_alone) = (0.0, 0.0);
    for _ in 0..trial.epochs {
        let mut rows = miners.measured_by(bloc.count(), &mut random);
        left_alone += fair.step(&rows).miners[0];
        rows[bloc.members()].iter_mut().for_each(|row| row[0] = 0.0);
        let paid = if trial.defence.is_on() {
            court.step(&rows, &conducts, &truthful, &mut evidence)
        } else {
            epochs.step(&rows)
        };
        accused += paid.miners[0];
    }
    accused / left_alone
}
